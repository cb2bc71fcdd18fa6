import { setTimeout as pause } from 'node:timers/promises';
import { attempt, type AttemptOptions } from './attempt.js';
import type { History, Operation, Outcome } from './history.js';
import { chargeOf, ITEMS, orderOf, paymentOf } from './operations.js';
import type { Random } from './random.js';
import { ACCOUNTS, type ChaosReplica } from './replicas.js';

/** Between two attempts: a client that is patient enough not to make things worse. */
const PAUSE_MS = { least: 20, most: 250 };
/** Between two operations of one client, so that the machine is not what is tested. */
const THINK_MS = { least: 5, most: 60 };
/** A client that hangs up does so while its request is somewhere in the protocol. */
const HANG_UP_MS = { least: 1, most: 40 };
/** Until a reply is asked for again, by somebody who has it already. */
const AGAIN_MS = { least: 0, most: 2_000 };

/** Shares of all operations. The rest are charges, and are sent until they are answered, and that is that. */
export interface Habits {
  orders: number;
  /** Of orders that are paid for, with a charge. */
  pays: number;
  /** Given up after one attempt: recovery has to finish without its client. */
  givesUp: number;
  /** Sent twice at once, as by a double click. */
  twins: number;
  /** Sent again, later, by somebody who has the reply already; orders also once they are paid for. */
  again: number;
}
export const USUAL: Habits = { orders: 0.4, pays: 0.7, givesUp: 0.1, twins: 0.1, again: 0.2 };

export interface ClientOptions {
  habits: Habits;
  history: History;
  replicas: readonly ChaosReplica[];
  /** Whether clients may hang up now; told each time that one has. */
  hangUps: { enabled: boolean; attempted(): void; landed(): void };
}

/** Sends an operation until the answer is final. */
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

function hangUp(hangUps: ClientOptions['hangUps'], random: Random): AttemptOptions {
  // Drawn either way, so that the schedule of the faults does not change what else is drawn.
  const [isDue, hangUpAfterMs] = [random.chance(0.15), random.integer(HANG_UP_MS.least, HANG_UP_MS.most)];
  if (!isDue || !hangUps.enabled) return {};
  hangUps.attempted();
  return { hangUpAfterMs, onHungUp: () => hangUps.landed() };
}

/** One customer of an account, who orders, pays, and sometimes asks twice. Its keys are those of others, in other accounts. */
export class Client {
  readonly account: string;
  private readonly name: string;
  private made = 0;

  constructor(
    index: number,
    private readonly options: ClientOptions,
    private readonly random: Random,
  ) {
    this.account = ACCOUNTS[index % ACCOUNTS.length] as string;
    this.name = `c${Math.floor(index / ACCOUNTS.length)}`;
  }

  /** Works until told to stop; what is begun then is brought to its end. */
  async work(stopped: () => boolean, deadline: () => number): Promise<void> {
    while (!stopped()) {
      await this.once(stopped, deadline);
      await pause(this.random.integer(THINK_MS.least, THINK_MS.most));
    }
  }

  private async once(stopped: () => boolean, deadline: () => number): Promise<void> {
    if (!this.random.chance(this.options.habits.orders)) return this.bring(this.charge(), deadline);
    const order = this.order();
    await this.bring(order, deadline);
    if (!this.random.chance(this.options.habits.pays) || stopped()) return;
    await this.bring(this.charge(order), deadline);
    // Without a key the answer is the order as it is now, paid or about to be.
    if (this.random.chance(this.options.habits.again)) await drive(this.options, order, this.random, deadline);
  }

  /** Sends it as one kind of client or another would. */
  private async bring(operation: Operation, deadline: () => number): Promise<void> {
    const { history, replicas, habits } = this.options;
    history.add({ type: 'operation', operation });
    const kind = this.random.next();
    const [givesUp, isTwin] = [kind < habits.givesUp, kind < habits.givesUp + habits.twins];
    if (givesUp) {
      await attempt(history, operation, this.random.pick(replicas));
    } else if (isTwin) {
      const twins = [0, 1].map(() => this.random.fork(this.random.integer(0, 2 ** 30)));
      await Promise.all(twins.map((twin) => drive(this.options, operation, twin, deadline)));
    } else {
      await drive(this.options, operation, this.random, deadline);
      if (kind > 1 - habits.again) {
        await pause(this.random.integer(AGAIN_MS.least, AGAIN_MS.most));
        await drive(this.options, operation, this.random, deadline);
      }
    }
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
