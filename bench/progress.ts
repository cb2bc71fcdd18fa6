const MINUTE_S = 60;

/** One line on stderr that is kept up to date, or, where nobody watches, a line for every step that is done. */
export class Progress {
  private finished = 0;
  private readonly startedAtMs = performance.now();

  /** @param steps how many there will be, all of them alike enough to tell the time left from */
  constructor(private readonly steps: number) {}

  /** What is under way. */
  show(text: string): void {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${this.line(text).slice(0, process.stderr.columns - 1)}`);
  }

  /** A step is done. */
  finish(text: string): void {
    this.finished++;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K` : `${this.line(text)}\n`);
  }

  private line(text: string): string {
    const position = `${Math.min(this.finished + (process.stderr.isTTY ? 1 : 0), this.steps)}/${this.steps}`;
    return `${position}  ${text}${this.finished > 0 ? `, ${this.timeLeft()} left` : ''}`;
  }

  private timeLeft(): string {
    const elapsedSeconds = (performance.now() - this.startedAtMs) / 1000;
    const seconds = Math.round((elapsedSeconds / this.finished) * (this.steps - this.finished));
    return seconds < MINUTE_S ? `${seconds} s` : `${Math.round(seconds / MINUTE_S)} min`;
  }
}
