const MINUTE_S = 60;
/** Without a terminal, a long step prints a line at this interval. */
const LINE_INTERVAL_MS = 15_000;

/** Prints the progress of long work to stderr: one line that is updated on a terminal, or a line at an interval without a terminal. */
export class Progress {
  private readonly startedAtMs = performance.now();
  private lastLineAtMs = this.startedAtMs;
  private done = 0;

  /** @param total number of steps, which should take about the same time each */
  constructor(private readonly total: number) {}

  /**
   * Shows the current step.
   *
   * @param done number of finished steps; unchanged unless given
   */
  show(text: string, done = this.done): void {
    this.done = done;
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\x1b[K${this.line(text).slice(0, process.stderr.columns - 1)}`);
    } else if (performance.now() - this.lastLineAtMs > LINE_INTERVAL_MS) {
      this.print(text);
    }
  }

  /**
   * Shows that a step has finished.
   *
   * @param done number of finished steps; one more than before unless given
   */
  finish(text: string, done = this.done + 1): void {
    this.done = done;
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    else this.print(text);
  }

  private print(text: string): void {
    this.lastLineAtMs = performance.now();
    process.stderr.write(`${this.line(text)}\n`);
  }

  private line(text: string): string {
    const share = this.done / this.total;
    return `${String(Math.floor(share * 100)).padStart(3)} %  ${text}${share > 0 ? `, ${this.timeLeft(share)} left` : ''}`;
  }

  private timeLeft(share: number): string {
    const elapsedSeconds = (performance.now() - this.startedAtMs) / 1000;
    const seconds = Math.round(elapsedSeconds * (1 / share - 1));
    return seconds < MINUTE_S ? `${seconds} s` : `${Math.round(seconds / MINUTE_S)} min`;
  }
}
