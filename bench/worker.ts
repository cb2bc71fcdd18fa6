import { type Measurement, Tally } from './measurement.js';
import { type Program, startModule } from '../harness/processes.js';

const REPORT_INTERVAL_MS = 250;

/** A message from a worker to its parent. */
type Message =
  | { kind: 'ready'; url: string }
  | { kind: 'progress'; requestsPerSecond: number }
  | { kind: 'done'; measurement: Measurement }
  | { kind: 'failed'; reason: string };

/** Receives the requests per second of a job so far, a few times a second. */
export type OnProgress = (requestsPerSecond: number) => void;

/** A child process that serves, or does one job at a time, or both. */
export class Worker<WorkerJob extends object> {
  private constructor(
    private readonly program: Program,
    /** Where the worker serves; empty if it does not serve. */
    readonly url: string,
  ) {}

  /**
   * Starts a compiled module, given relative to the build folder, and waits until it is ready.
   *
   * @throws Error with the output of the process if it ends instead
   */
  static async start<WorkerJob extends object>(
    module: string,
    env: Record<string, string> = {},
  ): Promise<Worker<WorkerJob>> {
    const program = startModule(module, env);
    const url = await program.message((message: Message) => (message.kind === 'ready' ? message.url : undefined));
    return new Worker<WorkerJob>(program, url);
  }

  /** The end of the output of the process, which says why the process failed. */
  get output(): string {
    return this.program.output;
  }

  /** @throws Error if the job fails or the process ends */
  async run(job: WorkerJob, onProgress: OnProgress): Promise<Measurement> {
    const measured = this.program.message<Message, Measurement>((message, reject) => {
      if (message.kind === 'progress') onProgress(message.requestsPerSecond);
      if (message.kind === 'failed') reject(`failed: ${message.reason}`);
      return message.kind === 'done' ? message.measurement : undefined;
    });
    this.program.child.send(job);
    return measured;
  }
}

const send = (message: Message) => void process.send?.(message);

/** In the worker: says that the worker is ready, and ends it when its parent ends. */
export function ready(url = ''): void {
  process.once('disconnect', () => process.exit());
  send({ kind: 'ready', url });
}

/** In the worker: does every job that it receives, and reports the progress of each. */
export function workOn<WorkerJob>(run: (job: WorkerJob, tally: Tally) => Promise<void>): void {
  process.on('message', (job: WorkerJob) => {
    const tally = new Tally();
    const report = () => send({ kind: 'progress', requestsPerSecond: tally.answered / tally.elapsedSeconds });
    const timer = setInterval(report, REPORT_INTERVAL_MS);
    run(job, tally)
      .then(() => send({ kind: 'done', measurement: tally.result() }))
      .catch((error: unknown) => send({ kind: 'failed', reason: String((error as Error).stack ?? error) }))
      .finally(() => clearInterval(timer));
  });
}
