const MINUTE_S = 60;
/** Where nobody watches, a step that takes long is heard of this often. */
const LINE_INTERVAL_MS = 15_000;

/** How far a long work is: a line on stderr that is kept up to date, or, where nobody watches, a line now and then. */
export class Progress {
  private readonly startedAtMs = performance.now();
  private lastLineAtMs = this.startedAtMs;
  private done = 0;

  /** @param total of whatever is counted, each of which takes about as long as the others */
  constructor(private readonly total: number) {}

  /** What is under way, `done` of the total being behind us; unless told, as many as before. */
  show(text: string, done = this.done): void {
    this.done = done;
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\x1b[K${this.line(text).slice(0, process.stderr.columns - 1)}`);
    } else if (performance.now() - this.lastLineAtMs > LINE_INTERVAL_MS) {
      this.print(text);
    }
  }

  /** A step is done, and with it, unless told, one more of the total. */
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
