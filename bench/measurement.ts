import { percentile } from './statistics.js';

/** Which `Idempotency-Key` the requests bear. */
export type Keys =
  /** A new one each, if the prefix is new. */
  | { kind: 'fresh'; prefix: string }
  /** One after the other of the first `count` that `fresh` made of the same prefix. */
  | { kind: 'known'; prefix: string; count: number }
  /** The same one always, so that every answer must be the same, too. */
  | { kind: 'one'; key: string };

/** What is asked for. */
export type Operation = 'charge' | 'order';

/** What to send, and until when. */
export interface Job {
  /** Charges unless told otherwise. */
  operation?: Operation;
  keys: Keys;
  /** Requests under way at a time, each on a connection of its own. */
  connections: number;
  until: { seconds: number } | { requests: number };
}

/** What came of a job. */
export interface Measurement {
  /** More than were answered: what was under way when the time was up took effect, or did not. */
  sent: number;
  answered: number;
  /** Answers other than 2xx. */
  refused: number;
  /** Broken connections and timeouts. */
  broken: number;
  /** Answers to the one key that differ from the first. */
  mismatched: number;
  /** How often each HTTP status was answered, if the sender counts them. */
  statuses: Readonly<Record<number, number>>;
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** How busy the process was that sent the requests, from 0 to 1. Near 1, it was itself measured. */
  senderLoad: number;
}

/** Counts while a job runs. The number of latencies kept is the number of requests, which a job bounds. */
export class Tally {
  sent = 0;
  refused = 0;
  broken = 0;
  mismatched = 0;
  private readonly statuses: Record<number, number> = {};
  private readonly latenciesMs: number[] = [];
  private readonly startedAtMs = performance.now();
  private readonly cpuAtStart = process.cpuUsage();
  private lastAnswerAtMs = this.startedAtMs;

  get answered(): number {
    return this.latenciesMs.length;
  }

  get elapsedSeconds(): number {
    return (performance.now() - this.startedAtMs) / 1000;
  }

  answer(latencyMs: number, ok: boolean): void {
    this.latenciesMs.push(latencyMs);
    this.lastAnswerAtMs = performance.now();
    if (!ok) this.refused++;
  }

  /** Counts an answer by its status, too. */
  answerWith(status: number, latencyMs: number, ok: boolean): void {
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
    this.answer(latencyMs, ok);
  }

  result(): Measurement {
    const { user, system } = process.cpuUsage(this.cpuAtStart);
    return {
      sent: this.sent,
      answered: this.answered,
      refused: this.refused,
      broken: this.broken,
      mismatched: this.mismatched,
      statuses: this.statuses,
      // Until the last answer rather than until now: whoever waits for the end of a job looks only now and then.
      requestsPerSecond: this.answered / Math.max(0.001, (this.lastAnswerAtMs - this.startedAtMs) / 1000),
      p50Ms: percentile(this.latenciesMs, 0.5),
      p99Ms: percentile(this.latenciesMs, 0.99),
      senderLoad: (user + system) / 1e6 / this.elapsedSeconds,
    };
  }
}
