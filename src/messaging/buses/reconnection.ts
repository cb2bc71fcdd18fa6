import { Logger } from '@nestjs/common';
import { BackOff } from '../../timing/back-off.js';

/** The pauses grow to 5 s, so that an unavailable broker gets few attempts, and a broker that recovers is noticed within 5 s. */
const PAUSE = { shortestMs: 100, longestMs: 5_000 };

/** Keeps a session with a broker alive. When a session ends, for any reason, the next one starts after a pause. */
export class Reconnection {
  private readonly stopping = new AbortController();
  private readonly logger = new Logger(Reconnection.name);
  private ended: Promise<void> = Promise.resolve();

  /**
   * @param name of the broker, for the log
   * @param session resolves or rejects when its connection ends, and calls `connected` when the connection is established
   */
  constructor(
    private readonly name: string,
    private readonly session: (connected: () => void) => Promise<void>,
  ) {}

  get stopped(): boolean {
    return this.stopping.signal.aborted;
  }

  start(): void {
    this.ended = this.keepAlive();
  }

  /** Starts no further session, and waits until the running session has ended. The caller must end that session. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.ended;
  }

  private async keepAlive(): Promise<void> {
    const backOff = new BackOff(PAUSE);
    while (!this.stopped) {
      const reason = await this.session(() => backOff.reset()).then(() => 'the broker closed the connection', describe);
      if (this.stopped) return;
      this.logger.warn(`${this.name} is unavailable, a new connection will be tried: ${reason}`);
      await backOff.pause(this.stopping.signal);
    }
  }
}

/** Returns all messages of an AggregateError, because its own message does not contain the reasons. */
function describe(reason: unknown): string {
  return reason instanceof AggregateError
    ? [reason.message, ...reason.errors.map(describe)].join('; ')
    : String(reason);
}
