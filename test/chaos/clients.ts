import { setTimeout as pause } from 'node:timers/promises';
import { type Address, attempt, type AttemptOptions } from './attempt.js';
import { type History, type Operation, type Outcome, parse } from './history.js';
import { chargeOf, ITEMS, orderOf, paymentOf, refundOf } from './operations.js';
import type { Random } from './random.js';

/** The pause between two attempts. A shorter pause would overload the service. */
const PAUSE_MS = { least: 20, most: 250 };
/** The pause between two operations of one client, so that the run does not only measure a busy machine. */
const THINK_MS = { least: 5, most: 60 };
/** The time after which a client hangs up, chosen so that its request is in the middle of the protocol. */
const HANG_UP_MS = { least: 1, most: 40 };
/** The pause before a client that has its reply sends the request again. */
const AGAIN_MS = { least: 0, most: 2_000 };

const RESEND_AT_ONCE = 16;

/** How clients behave, as shares of all operations. All other operations are charges that are sent until they are answered, and then not again. */
export interface Habits {
  orders: number;
  /** The share of orders that are paid with a charge. */
  pays: number;
  /** The share of charges that are refunded, with one to three refunds at once. */
  refunds: number;
  /** Operations that are given up after one attempt, so that recovery has to finish them without the client. */
  givesUp: number;
  /** Operations that are sent twice at the same time, as by a double click. */
  twins: number;
  /** Operations that are sent again after their reply; orders also after their payment. */
  again: number;
}
export const USUAL: Habits = { orders: 0.4, pays: 0.7, refunds: 0.3, givesUp: 0.1, twins: 0.1, again: 0.2 };

export interface ClientOptions {
  habits: Habits;
  history: History;
  /** Clients take turns in belonging to these. */
  accounts: readonly string[];
  replicas: readonly Address[];
  /** Whether clients may hang up now, and functions that are called each time a client does. */
  hangUps: { enabled: boolean; attempted(): void; landed(): void };
}

/** Sends an operation until the answer is final. Returns that outcome, or undefined after the deadline. */
export async function drive(
  { history, replicas, hangUps }: ClientOptions,
  operation: Operation,
  random: Random,
  deadline: () => number,
): Promise<Outcome | undefined> {
  while (performance.now() < deadline()) {
    const outcome = await attempt(history, operation, random.pick(replicas), hangUp(hangUps, random));
    if (outcome.type === 'ok') return outcome;
    await pause(random.integer(PAUSE_MS.least, PAUSE_MS.most));
  }
  return undefined;
}

/**
 * Sends every operation until it is answered, including those that clients gave up. Stops if no operation at all is answered for
 * `patienceMs`. The checker then reports the operations without an answer.
 */
export async function resend(options: ClientOptions, random: Random, patienceMs: number): Promise<void> {
  const waiting: Operation[] = options.history.events.flatMap((event) =>
    event.type === 'operation' ? [event.operation] : [],
  );
  let answeredAt = performance.now();
  const sendAll = async () => {
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const outcome = await drive(options, next, random, () => answeredAt + patienceMs);
      if (outcome) answeredAt = performance.now();
    }
  };
  await Promise.all(Array.from({ length: RESEND_AT_ONCE }, sendAll));
}

function hangUp(hangUps: ClientOptions['hangUps'], random: Random): AttemptOptions {
  // Both numbers are drawn even if clients may not hang up now, so that the schedule of the faults does not change the random numbers that follow.
  const [isDue, hangUpAfterMs] = [random.chance(0.15), random.integer(HANG_UP_MS.least, HANG_UP_MS.most)];
  if (!isDue || !hangUps.enabled) return {};
  hangUps.attempted();
  return { hangUpAfterMs, onHungUp: () => hangUps.landed() };
}

/** One client of an account. It orders, pays, refunds and sometimes retries. Clients of other accounts use the same keys. */
export class Client {
  readonly account: string;
  private readonly name: string;
  private made = 0;

  constructor(
    index: number,
    private readonly options: ClientOptions,
    private readonly random: Random,
  ) {
    const { accounts } = options;
    this.account = accounts[index % accounts.length] as string;
    this.name = `c${Math.floor(index / accounts.length)}`;
  }

  /** Sends operations until `stopped` returns true, and finishes the operation that it has begun. */
  async work(stopped: () => boolean, deadline: () => number): Promise<void> {
    while (!stopped()) {
      await this.once(stopped, deadline);
      await pause(this.random.integer(THINK_MS.least, THINK_MS.most));
    }
  }

  private async once(stopped: () => boolean, deadline: () => number): Promise<void> {
    if (!this.random.chance(this.options.habits.orders)) return this.pay(deadline);
    const order = this.order();
    await this.perform(order, deadline, this.random);
    if (!this.random.chance(this.options.habits.pays) || stopped()) return;
    await this.pay(deadline, order);
    // The answer to an order without a key is its current state, which is paid or still placed.
    if (this.random.chance(this.options.habits.again)) await drive(this.options, order, this.random, deadline);
  }

  /** Charges, and sometimes refunds the charge in parts. The parts are sent at once, and may exceed the charge. */
  private async pay(deadline: () => number, order?: Operation): Promise<void> {
    const charge = this.charge(order);
    const outcome = await this.perform(charge, deadline, this.random);
    const isCharged = outcome?.type === 'ok' && outcome.reply.status === 200;
    if (!isCharged || !this.random.chance(this.options.habits.refunds)) return;
    const chargeId = String(parse(outcome.reply.body)['id']);
    const parts = Array.from({ length: this.random.integer(1, 3) }, () => {
      const amount = this.random.chance(0.3) ? undefined : this.random.integer(1, Number(charge.body['amount']));
      return { refund: refundOf(this.account, this.nextName('r'), chargeId, amount), random: this.fork() };
    });
    await Promise.all(parts.map(({ refund, random }) => this.perform(refund, deadline, random)));
  }

  /**
   * Sends an operation as one kind of client: one that gives up, sends twice at once, or retries until it has an answer.
   *
   * @returns the outcome of the first attempts; undefined if they had no final answer before the deadline
   */
  private async perform(operation: Operation, deadline: () => number, random: Random): Promise<Outcome | undefined> {
    const { history, replicas, habits } = this.options;
    history.add({ type: 'operation', operation });
    const kind = random.next();
    const [givesUp, isTwin] = [kind < habits.givesUp, kind < habits.givesUp + habits.twins];
    if (givesUp) {
      return attempt(history, operation, random.pick(replicas));
    }
    if (isTwin) {
      const twins = [0, 1].map(() => random.fork(random.integer(0, 2 ** 30)));
      const [outcome] = await Promise.all(twins.map((twin) => drive(this.options, operation, twin, deadline)));
      return outcome;
    }
    const outcome = await drive(this.options, operation, random, deadline);
    if (kind > 1 - habits.again) {
      await pause(random.integer(AGAIN_MS.least, AGAIN_MS.most));
      await drive(this.options, operation, random, deadline);
    }
    return outcome;
  }

  private fork(): Random {
    return this.random.fork(this.random.integer(0, 2 ** 30));
  }

  private charge(order?: Operation): Operation {
    const name = this.nextName('k');
    const more = this.random.chance(0.15) ? { source: 'tok_chargeDeclined' } : {};
    if (order) return paymentOf(order, name, more);
    return chargeOf(this.account, name, this.random.integer(1, 9_999), more);
  }

  private order(): Operation {
    const items = this.random
      .shuffled(ITEMS)
      .slice(0, this.random.integer(1, 3))
      .map((item_id) => ({
        item_id,
        quantity: this.random.integer(1, 3),
        unit_amount: this.random.integer(1, 500),
      }));
    return orderOf(this.account, this.nextName('o'), items, this.random.chance(0.6));
  }

  private nextName(kind: string): string {
    return `${kind}-${this.name}-${++this.made}`;
  }
}
