/** Where a crash fell: before the effect, between effect and reply, or after the reply. */
export type Fall = 'early' | 'hit' | 'late';

/** The smallest interval that is still divided. Below it, the noise of the machine decides where a crash falls. */
const SMALLEST_MS = 1;

/**
 * Searches for the delay after which a crash falls between the effect of a request and its reply, by bisection. A kill command takes time too, so the
 * right delay is shorter than the measured time of the effect, and it varies: if bisection has found nothing, it begins again.
 */
export class DelaySearch {
  private low = 0;
  private high: number;
  private delay: number;

  /** @param effectMs the time until the effect of an undisturbed request is seen */
  constructor(
    effectMs: number,
    private readonly replyMs: number,
  ) {
    this.high = replyMs;
    this.delay = (effectMs + replyMs) / 2;
  }

  next(): number {
    return this.delay;
  }

  learn(fall: Fall): void {
    if (fall === 'hit') return;
    if (fall === 'early') this.low = this.delay;
    else this.high = this.delay;
    if (this.high - this.low < SMALLEST_MS) [this.low, this.high] = [0, this.replyMs];
    this.delay = (this.low + this.high) / 2;
  }
}
