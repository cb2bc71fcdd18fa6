import { type Measurement, Tally } from './measurement.js';
import { type Program, startModule } from '../harness/processes.js';

/** How often a job under way tells how far it is. */
const REPORT_INTERVAL_MS = 250;

/** What a worker tells its parent. */
type Message =
  | { kind: 'ready'; url: string }
  | { kind: 'progress'; requestsPerSecond: number }
  | { kind: 'done'; measurement: Measurement }
  | { kind: 'failed'; reason: string };

/** Hears the requests per second of a job so far, a few times a second. */
export type OnProgress = (requestsPerSecond: number) => void;

/** A process of ours that serves, or does one job at a time, or both. */
export class Worker<WorkerJob extends object> {
  private constructor(
    private readonly program: Program,
    /** Where it serves; empty if it does not. */
    readonly url: string,
  ) {}

  /**
   * Starts a compiled module, given relative to the build folder, and waits until it is ready.
   *
   * @throws Error with what the process wrote, when it ended instead
   */
  static async start<WorkerJob extends object>(
    module: string,
    env: Record<string, string> = {},
  ): Promise<Worker<WorkerJob>> {
    const program = startModule(module, env);
    return new Worker<WorkerJob>(program, await hear(program, (message) => message.kind === 'ready' && message.url));
  }

  /** The end of what it wrote, which says what went wrong in it. */
  get output(): string {
    return this.program.output;
  }

  /** @throws Error when the process fails or ends */
  async run(job: WorkerJob, onProgress: OnProgress): Promise<Measurement> {
    const measured = hear(this.program, (message) => {
      if (message.kind === 'progress') onProgress(message.requestsPerSecond);
      return message.kind === 'done' && message.measurement;
    });
    this.program.child.send(job);
    return measured;
  }
}

/** Waits for the message that `pick` makes something of. */
function hear<T>(program: Program, pick: (message: Message) => T | false): Promise<T> {
  return program.expect((resolve, reject) => {
    const onMessage = (message: Message) => {
      if (message.kind === 'failed') return reject(`failed: ${message.reason}`);
      const picked = pick(message);
      if (picked !== false) resolve(picked);
    };
    program.child.on('message', onMessage);
    return () => program.child.off('message', onMessage);
  });
}

const tell = (message: Message) => void process.send?.(message);

/** In the worker: says that it is ready, and ends with its parent. */
export function ready(url = ''): void {
  process.once('disconnect', () => process.exit());
  tell({ kind: 'ready', url });
}

/** In the worker: does every job that it is sent, telling how far it is. */
export function workOn<WorkerJob>(run: (job: WorkerJob, tally: Tally) => Promise<void>): void {
  process.on('message', (job: WorkerJob) => {
    const tally = new Tally();
    const report = () => tell({ kind: 'progress', requestsPerSecond: tally.answered / tally.elapsedSeconds });
    const timer = setInterval(report, REPORT_INTERVAL_MS);
    run(job, tally)
      .then(() => tell({ kind: 'done', measurement: tally.result() }))
      .catch((error: unknown) => tell({ kind: 'failed', reason: String((error as Error).stack ?? error) }))
      .finally(() => clearInterval(timer));
  });
}
