import { setTimeout as wait } from 'node:timers/promises';

export interface BackOffLimits {
  /** Milliseconds of the first pause. */
  shortestMs: number;
  /** Maximum milliseconds of a pause. */
  longestMs: number;
}

/** Pauses between attempts at the same thing. Each pause is twice as long as the one before, up to a limit. */
export class BackOff {
  private nextMs: number;

  constructor(private readonly limits: BackOffLimits) {
    this.nextMs = limits.shortestMs;
  }

  /**
   * Waits before the next attempt. The pause is cut by a random part, up to one half, so that processes that failed at the same
   * moment do not try again at the same moment. The pause does not keep the process alive.
   *
   * @param stopping ends the pause early, without an error
   */
  async pause(stopping?: AbortSignal): Promise<void> {
    const ms = this.nextMs * (0.5 + Math.random() / 2);
    this.nextMs = Math.min(2 * this.nextMs, this.limits.longestMs);
    await wait(ms, undefined, { signal: stopping, ref: false }).catch(() => undefined);
  }

  /** Makes the next pause the shortest again, because an attempt has succeeded. */
  reset(): void {
    this.nextMs = this.limits.shortestMs;
  }
}
