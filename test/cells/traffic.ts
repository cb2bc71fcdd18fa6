import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../../harness/postgres-node.js';
import { Client, type ClientOptions, resend, USUAL } from '../chaos/clients.js';
import type { History, HistoryEvent, Operation } from '../chaos/history.js';
import { Random } from '../chaos/random.js';
import { ACCOUNTS } from './world.js';

/** One client of each account, and two more of the first account, whose replies are replayed after its move. */
const CLIENTS = [...ACCOUNTS.keys(), ACCOUNTS.length, 2 * ACCOUNTS.length];
/** Longer than any outage of a scene. An operation that is given up is a violation. */
const PATIENCE_MS = 60_000;
const LOOK_INTERVAL_MS = 20;
const RESEND = 1_000;

/** An attempt of a client that was not answered with a final reply. */
export interface Refusal {
  at: number;
  operation: Operation;
  reason: string;
}

/** A final reply. */
export interface Acknowledgement {
  at: number;
  operation: Operation;
  status: number;
  body: string;
}

/** The client of an operation, which names it `account:k-client-number`. */
const clientOf = ({ id }: Operation) => id.replace(/:[ko]-(c\d+)-\d+$/, ':$1');

/** The clients of all accounts, from the first scene to the last, and what they saw. */
export class Traffic {
  private readonly options: ClientOptions;
  private readonly random: Random;
  private readonly working: Promise<unknown>;
  private isOver = false;
  private deadline = Infinity;

  constructor(
    readonly history: History,
    router: ClientOptions['replicas'][number],
    seed: number,
  ) {
    const nothing = () => undefined;
    const hangUps = { enabled: false, attempted: nothing, landed: nothing };
    this.options = { history, accounts: ACCOUNTS, replicas: [router], habits: USUAL, hangUps };
    this.random = new Random(seed);
    history.add({ type: 'phase', name: 'load' });
    const clients = CLIENTS.map((i) => new Client(i, this.options, this.random.fork(i)));
    this.working = Promise.all(
      clients.map((client) =>
        client.work(
          () => this.isOver,
          () => this.deadline,
        ),
      ),
    );
  }

  /** Waits until each of these accounts has got this many further final replies. */
  async acknowledges(accounts: readonly string[], count: number): Promise<void> {
    const since = Date.now();
    const missing = () => accounts.filter((account) => this.acknowledged(since, account).length < count);
    for (const deadline = performance.now() + PATIENCE_MS; missing().length > 0; await pause(LOOK_INTERVAL_MS)) {
      if (performance.now() > deadline)
        throw new Error(`${missing().join()}: fewer than ${count} final replies in a minute`);
    }
  }

  /** The final replies since a time of the wall clock. */
  acknowledged(since: number, account?: string): Acknowledgement[] {
    return this.outcomes().flatMap(({ event, operation }) =>
      event.type === 'ok' && event.at >= since && (account ?? operation.account) === operation.account
        ? [{ at: event.at, operation, status: event.reply.status, body: event.reply.body }]
        : [],
    );
  }

  /** All other answers since a time of the wall clock. */
  refusals(since: number): Refusal[] {
    return this.outcomes().flatMap(({ event, operation }) =>
      event.type !== 'ok' && event.at >= since ? [{ at: event.at, operation, reason: event.reason }] : [],
    );
  }

  /**
   * Waits until no client waits for the final reply to one of these operations any more. A client that gave its operation up has begun another one.
   *
   * @returns the milliseconds from each refusal to the final reply to the same operation, without the operations that were given up
   */
  async waits(refusals: readonly Refusal[]): Promise<number[]> {
    const waits = new Map<Refusal, number>();
    await until('every refused operation has its final reply', () => {
      const replies = this.acknowledged(0);
      const begun = this.history.events.filter((event) => event.type === 'operation');
      const isWaited = (refusal: Refusal) => {
        const { at, operation } = refusal;
        const reply = replies.find((each) => each.operation.id === operation.id && each.at > at);
        if (reply) waits.set(refusal, reply.at - at);
        return !reply && !begun.some((other) => other.at > at && clientOf(other.operation) === clientOf(operation));
      };
      return Promise.resolve(!refusals.some(isWaited));
    });
    return [...waits.values()];
  }

  /** Ends the load when every operation that has begun has its reply. */
  async end(): Promise<void> {
    this.isOver = true;
    this.deadline = performance.now() + PATIENCE_MS;
    this.history.add({ type: 'phase', name: 'healed' });
    await this.working;
  }

  /** Sends every operation again until it is answered. */
  async resend(): Promise<void> {
    this.history.add({ type: 'phase', name: 'resend' });
    await resend(this.options, this.random.fork(RESEND), PATIENCE_MS);
  }

  private outcomes() {
    const operations = new Map<string, Operation>();
    const attempts = new Map<number, Operation>();
    const outcomes: { event: Extract<HistoryEvent, { type: 'ok' | 'fail' | 'info' }>; operation: Operation }[] = [];
    for (const event of this.history.events) {
      if (event.type === 'operation') operations.set(event.operation.id, event.operation);
      if (event.type === 'invoke') attempts.set(event.attempt, operations.get(event.operation) as Operation);
      if (event.type === 'ok' || event.type === 'fail' || event.type === 'info') {
        outcomes.push({ event, operation: attempts.get(event.attempt) as Operation });
      }
    }
    return outcomes;
  }
}
