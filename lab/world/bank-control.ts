import { fileURLToPath } from 'node:url';
import { Program } from '../../harness/processes.js';
import type { BankOrder, BankReport } from './bank-messages.js';
import type { EventLog } from './events.js';

const USUAL: BankOrder = { isHolding: false, answersToLose: 0 };

/** Starts the process of the bank, reports what the bank does, and makes the bank misbehave. */
export class BankControl {
  /** Number of requests that the bank has decided since the last {@link BankControl.hold}. */
  captured = 0;
  private order = USUAL;
  private readonly listeners = new Set<() => void>();

  private constructor(
    private readonly program: Program,
    readonly port: number,
    private readonly events: EventLog,
  ) {
    program.child.on('message', (report: BankReport) => this.note(report));
  }

  static async start(databaseUrl: string, events: EventLog): Promise<BankControl> {
    const program = Program.start(fileURLToPath(new URL('./bank.js', import.meta.url)), {
      name: 'the bank',
      env: { DATABASE_URL: databaseUrl },
      channels: ['ipc'],
    });
    const listening = (report: BankReport) => (report.kind === 'listening' ? report.port : undefined);
    return new BankControl(program, await program.message(listening), events);
  }

  /** Captures, and keeps all answers until {@link BankControl.behave}. */
  hold(): void {
    this.captured = 0;
    this.give({ isHolding: true });
    this.events.note('bank', 'The bank is slow: it keeps its answers.', { fault: 'hold-bank' });
  }

  /** Captures, and loses the next answer. */
  loseNextAnswer(): void {
    this.give({ answersToLose: 1 });
    this.events.note('bank', 'The next answer of the bank will be lost.', { fault: 'lose-bank-answer' });
  }

  get isArmed(): boolean {
    return this.order.answersToLose > 0;
  }

  /** Ends every fault, and gives the answers that were held. */
  behave(): void {
    if (this.order.isHolding) this.events.note('bank', 'The bank answers again.', { fault: 'release-bank' });
    this.order = USUAL;
    this.give({});
  }

  /**
   * Waits until the bank has decided about this number of requests.
   *
   * @param patienceMs ends the wait, because the absence of a request cannot be awaited
   */
  async hasCaptured(requests: number, patienceMs = 30_000): Promise<boolean> {
    if (this.captured >= requests) return true;
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.listeners.delete(look);
        resolve(this.captured >= requests);
      };
      const look = () => this.captured >= requests && end();
      const timer = setTimeout(end, patienceMs);
      this.listeners.add(look);
    });
  }

  end(): Promise<void> {
    return this.program.end();
  }

  private give(change: Partial<BankOrder>): void {
    this.order = { ...this.order, ...change };
    if (this.program.child.connected) this.program.child.send(this.order, () => undefined);
  }

  private note(report: BankReport): void {
    if (report.kind === 'received') {
      const text = report.key === undefined ? 'capture, without a key' : 'capture';
      this.events.add({ kind: 'request', from: report.replica, to: 'bank', text, key: report.key });
    }
    if (report.kind === 'captured') {
      this.captured++;
      const text = report.isFirst ? 'The bank takes the money.' : 'The bank knows the key and takes no money.';
      this.events.note('bank', text, { key: report.key });
      this.listeners.forEach((look) => look());
    }
    if (report.kind === 'answered') {
      const { replica, key, isLost } = report;
      if (isLost) this.order = { ...this.order, answersToLose: 0 };
      this.events.add({ kind: 'reply', from: 'bank', to: replica, text: 'captured', key, status: 200, lost: isLost });
    }
  }
}
