import { expect } from '@jest/globals';
import fc from 'fast-check';
import { Idempotency } from '../../src/idempotency/idempotency.js';
import { Recovery } from '../../src/idempotency/upkeep/recovery.js';
import { Sweeper } from '../../src/idempotency/upkeep/sweeper.js';
import { Relay } from '../../src/messaging/index.js';
import { type Account, call } from '../support/client.js';
import type { TestDatabase } from '../support/database.js';
import type { TestService } from '../support/service.js';
import { recover } from './charges.contract.js';
import { recover as recoverRefunds } from './refunds.contract.js';
import { attemptsOf, explain, narrow, type State } from './contract.js';
import { deliverMessages } from './ledger.js';
import { type IfMatch, lostCharge, type Request, request, sendTo } from './requests.js';

export interface Model {
  /** The states that agree with every answer so far. Answers to concurrent requests can leave several. */
  possible: State[];
  /** Requests that may have changed something, which can be sent again with the same If-Match. */
  sent: Sent[];
  /** Number of requests sent, which alternate between the replicas. */
  requests: number;
}

export interface Real {
  /** Two replicas of the service on one database. */
  replicas: [TestService, TestService];
  database: TestDatabase;
}

/** A request with its value of If-Match. */
interface Sent {
  request: Request;
  tag: string | undefined;
}

type Command = fc.AsyncCommand<Model, Real>;

/** Sends requests at once, each on its own connection, and explains the answers. */
class Send implements Command {
  constructor(private readonly requests: readonly Request[]) {}

  check = () => true;

  async run(model: Model, real: Real): Promise<void> {
    const requests = this.requests.map((request) => aimed(model.possible, request));
    const all = requests.map((request) => ({ request, tag: tagOf(model.possible, request) }));
    await sendAll(model, real, all);
    model.sent.push(...all.filter(({ request }) => request.method !== 'GET'));
  }

  toString = () => `send ${JSON.stringify(this.requests)}`;
}

/** Sends an earlier request again, with the same JSON or with another spelling of it. */
class SendAgain implements Command {
  constructor(
    private readonly which: number,
    private readonly copies: number,
    private readonly isSpeltOddly: boolean,
  ) {}

  check = ({ sent }: Readonly<Model>) => sent.length > 0;

  async run(model: Model, real: Real): Promise<void> {
    // Counts backwards from the latest request.
    const earlier = model.sent.at(-1 - (this.which % model.sent.length));
    if (!earlier) return;
    const again = { ...earlier, request: { ...earlier.request, isSpeltOddly: this.isSpeltOddly } };
    await sendAll(
      model,
      real,
      Array.from({ length: this.copies }, () => again),
    );
  }

  toString = () => `send again ${this.which}${this.isSpeltOddly ? ' oddly' : ''}, ${this.copies} times`;
}

async function sendAll(model: Model, { replicas }: Real, all: readonly Sent[]): Promise<void> {
  const exchanges = await Promise.all(
    all.map(async ({ request, tag }) => {
      const replica = model.requests++ % replicas.length;
      const { url } = replicas[replica] as TestService;
      return { request, tag, replica, answer: await sendTo(url, request, tag) };
    }),
  );
  model.possible = explain(model.possible, attemptsOf(exchanges));
}

/** Replaces the id of a request for one of the charges that the model knows. The latest charge is the first. */
function aimed([state]: readonly State[], request: Request): Request {
  const { which, account } = request;
  const ids = [...(state?.[account].charges.keys() ?? [])].reverse();
  return which === undefined || ids.length === 0 ? request : { ...request, id: ids[which % ids.length] };
}

function tagOf([state]: readonly State[], { account, id = '', ifMatch }: Request): string | undefined {
  const version = state?.[account].customers.get(id)?.version ?? 0;
  const tags: Record<IfMatch, string> = {
    current: `"${version}"`,
    old: `"${version - 1}"`,
    '*': '*',
    malformed: `${version}`,
  };
  return ifMatch && tags[ifMatch];
}

/** Delivers all messages, and compares the balance. */
class DeliverMessages implements Command {
  check = () => true;

  async run(model: Model, { replicas: [service] }: Real): Promise<void> {
    while ((await service.nest.get(Relay).runOnce()) > 0);
    for (const account of ['acct_a', 'acct_b'] as const) {
      const answer = await call(service.url, 'GET', '/balance', { account });
      model.possible = narrow(model.possible, (state) => {
        deliverMessages(state[account]);
        const balances = [...state[account].balances].map(([currency, amount]) => ({ currency, amount }));
        balances.sort((one, other) => (one.currency < other.currency ? -1 : 1));
        expect(answer).toMatchObject({ status: 200, body: { balances } });
      });
    }
  }

  toString = () => 'deliver messages';
}

/** Finishes unfinished requests without their clients. */
class Recover implements Command {
  check = () => true;

  async run(model: Model, { replicas: [service], database }: Real): Promise<void> {
    const unfinished = await database.sql('SELECT FROM processed_requests WHERE completed_at IS NULL');
    // A request that fails stays unfinished until a later run tries it again. So several runs may be needed.
    let recovered = 0;
    for (let i = 0; i <= unfinished.length; i++) recovered += await service.nest.get(Recovery).runOnce();
    model.possible = narrow(model.possible, ({ acct_a, acct_b }) =>
      expect(recovered).toBe(
        [acct_a, acct_b].reduce((sum, ledger) => sum + recover(ledger) + recoverRefunds(ledger), 0),
      ),
    );
  }

  toString = () => 'recover';
}

/** Empties the reply caches of the replicas, because they cannot see that a test has aged or deleted rows. */
export const forget = (replicas: readonly TestService[]) =>
  replicas.forEach(({ nest }) => nest.get(Idempotency).replies?.['replies'].clear());

/** Makes the keys of an account older than the retention of 24 hours. */
class Expire implements Command {
  constructor(private readonly account: Account) {}

  check = () => true;

  async run(model: Model, { replicas, database }: Real): Promise<void> {
    await database.sql(
      "UPDATE processed_requests SET created_at = now() - interval '24 hours 1 second' WHERE account_id = $1",
      [this.account],
    );
    forget(replicas);
    model.possible = narrow(model.possible, (state) => {
      const { keys, expired } = state[this.account];
      for (const [key, { reply }] of keys) {
        // Unfinished requests do not expire.
        if (reply && keys.delete(key)) expired.add(key);
      }
    });
  }

  toString = () => `expire ${this.account}`;
}

/** Runs the sweep, which must delete the expired keys and no others. */
class Sweep implements Command {
  check = () => true;

  async run(model: Model, { replicas: [service] }: Real): Promise<void> {
    const swept = await service.nest.get(Sweeper).runOnce();
    model.possible = narrow(model.possible, ({ acct_a, acct_b }) => {
      expect(swept).toBe(acct_a.expired.size + acct_b.expired.size);
      acct_a.expired.clear();
      acct_b.expired.clear();
    });
  }

  toString = () => 'sweep';
}

/** Generates sequences of at most `maxCommands` commands. */
export function commandsOf(maxCommands: number) {
  // Key look-ups are not sent at once with charges, because the model does not know the state between the two commits of a charge.
  const atOnce = request.filter(({ resource }) => resource !== 'idempotency-keys');
  const requests = fc.oneof(
    { arbitrary: request.map((one) => [one]), weight: 30 },
    { arbitrary: lostCharge.map((one) => [one]), weight: 1 },
    {
      arbitrary: fc.tuple(request, fc.integer({ min: 2, max: 4 })).map(([one, n]) => Array<Request>(n).fill(one)),
      weight: 5,
    },
    { arbitrary: fc.array(atOnce, { minLength: 2, maxLength: 4 }), weight: 8 },
  );
  const again = fc.tuple(fc.nat({ max: 8 }), fc.constantFrom(1, 1, 1, 3), fc.boolean());
  const send = requests.map((all) => new Send(all));
  const sendAgain = again.map((parameters) => new SendAgain(...parameters));
  const expire = fc.constantFrom<Account>('acct_a', 'acct_b').map((account) => new Expire(account));
  const upkeep: fc.Arbitrary<Command>[] = [
    expire,
    ...[new DeliverMessages(), new Recover(), new Sweep()].map((command) => fc.constant(command)),
  ];
  // Every entry is equally likely, so repeated entries make a command more frequent.
  return fc.commands([send, send, send, send, send, send, send, sendAgain, sendAgain, sendAgain, ...upkeep], {
    maxCommands,
    size: 'max',
  });
}
