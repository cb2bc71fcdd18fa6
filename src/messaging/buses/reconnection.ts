import { setTimeout as pause } from 'node:timers/promises';
import { Logger } from '@nestjs/common';

/** Before the second try; twice as many before each one after it. */
const SHORTEST_PAUSE_MS = 100;
/** A broker that is back is noticed this fast, and one that is away is not bothered more often. */
const LONGEST_PAUSE_MS = 5_000;

/** Keeps up a session with a broker, for ever: when one ends, however it does, the next begins after a pause. */
export class Reconnection {
  private readonly stopping = new AbortController();
  private readonly logger = new Logger(Reconnection.name);
  private ended: Promise<void> = Promise.resolve();

  /**
   * @param name of the broker, for the log
   * @param session lasts as long as its connection; calls `connected` when that is up
   */
  constructor(
    private readonly name: string,
    private readonly session: (connected: () => void) => Promise<void>,
  ) {}

  get stopped(): boolean {
    return this.stopping.signal.aborted;
  }

  start(): void {
    this.ended = this.keepUp();
  }

  /** Begins no other session; the one under way is for the caller to end. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.ended;
  }

  private async keepUp(): Promise<void> {
    for (let pauseMs = SHORTEST_PAUSE_MS; !this.stopped; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      const connected = () => (pauseMs = SHORTEST_PAUSE_MS);
      const reason = await this.session(connected).then(() => 'it has ended the connection', describe);
      if (this.stopped) return;
      this.logger.warn(`${this.name} is away, and tried again: ${reason}`);
      // By chance, so that replicas do not come back all at once.
      const ms = pauseMs * (0.5 + Math.random() / 2);
      await pause(ms, undefined, { signal: this.stopping.signal, ref: false }).catch(() => undefined);
    }
  }
}

/** Clients put what is the matter into the cause, or into many errors in one. */
function describe(reason: unknown): string {
  return reason instanceof AggregateError
    ? [reason.message, ...reason.errors.map(describe)].join('; ')
    : String(reason);
}
