import { percentile } from './statistics.js';

/** The `Idempotency-Key` of the requests. */
export type Keys =
  /** A new key for each request, if the prefix is new. */
  | { kind: 'fresh'; prefix: string }
  /** The first `count` keys that `fresh` makes of the same prefix, in turn. New keys of mixed requests have this prefix too, followed by `-new`. */
  | { kind: 'known'; prefix: string; count: number }
  /** The same key for each request, so that all answers must be the same. */
  | { kind: 'one'; key: string };

/** The operation that the requests are for. `mixed`: fresh charges, replays and orders, as in `mix.ts`. */
export type Operation = 'charge' | 'order' | 'mixed';

/** The requests to send, and when to stop. */
export interface Job {
  /** Charges unless given. */
  operation?: Operation;
  keys: Keys;
  /** Requests in flight at a time, each on a connection of its own. */
  connections: number;
  until: { seconds: number } | { requests: number };
  /** Sends this many requests a second, evenly, without waiting for answers. If it is not given, each connection sends its next request after an answer. */
  ratePerSecond?: number | undefined;
}

/** The result of a job. */
export interface Measurement {
  /** May be more than were answered, because requests in flight when the time was up may or may not have had their effect. */
  sent: number;
  answered: number;
  /** Answers other than 2xx. */
  refused: number;
  /** Broken connections and timeouts. */
  broken: number;
  /** Answers to the same key that differ from the first answer. */
  mismatched: number;
  /** The number of answers by HTTP status, if the sender counts them. */
  statuses: Readonly<Record<number, number>>;
  requestsPerSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** How busy the sending process was, from 0 to 1. Near 1 the sender limits the numbers. */
  senderLoad: number;
}

/** Counts requests and answers while a job runs. It keeps one latency per answer, and a job bounds their number. */
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

  /** Counts an answer, also by its status. */
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
      // Measured until the last answer and not until now, because the end of a job is noticed only at an interval.
      requestsPerSecond: this.answered / Math.max(0.001, (this.lastAnswerAtMs - this.startedAtMs) / 1000),
      p50Ms: percentile(this.latenciesMs, 0.5),
      p99Ms: percentile(this.latenciesMs, 0.99),
      senderLoad: (user + system) / 1e6 / this.elapsedSeconds,
    };
  }
}
