// Goal: prove that an order gets at most one mail a day, with the limit in PostgreSQL and in Redis, and that in doubt a mail is sent twice.
// Method: run the relays of two replicas by hand, note their mails, and break the transaction and Redis.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { Relay } from '../../src/messaging/index.js';
import { MailLimit } from '../../src/notifications/mail-limit/mail-limit.js';
import type { PostgresMailLimit } from '../../src/notifications/mail-limit/postgres.mail-limit.js';
import type { Mail } from '../../src/notifications/mail.js';
import { Mailer } from '../../src/notifications/mailer.js';
import { type Account, call, TWO_ACCOUNTS } from '../support/client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { append } from '../support/messages.js';
import type { RedisServer } from '../../harness/redis.js';
import { MISSING_REDIS, startRedis } from '../support/redis.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { until } from '../support/waiting.js';

let database: TestDatabase;
let redis: RedisServer | undefined;
/** Two replicas. */
let services: TestService[];
let sent: Mail[];
/** Runs before a mail is sent. It throws to make the transaction of the mail roll back. */
let beforeMail: () => void;

beforeAll(async () => void (database = await createDatabase()));
beforeEach(async () => {
  await reset(database);
  sent = [];
  beforeMail = () => undefined;
});
afterEach(() => void jest.restoreAllMocks());
afterAll(() => database?.drop());

async function start(env: Record<string, string>): Promise<TestService> {
  const service = await startService(database.url, { ...TWO_ACCOUNTS, MESSAGE_RETRY_MS: '20', ...env });
  service.nest.get(Mailer, { strict: false }).send = (mail) => {
    sent.push(mail);
    beforeMail();
  };
  return service;
}

const limitOf = ({ nest }: TestService) => nest.get(MailLimit, { strict: false });

/** Charges an order, and delivers nothing yet. */
async function charge(key: string, orderId: string | undefined, account: Account = 'acct_a'): Promise<void> {
  const body = orderId === undefined ? CHARGE : { ...CHARGE, order_id: orderId };
  const { status } = await call(services[0]?.url ?? '', 'POST', '/charges', { account, key, body });
  expect(status).toBe(200);
}

/** Runs the relays of both replicas until every message is processed. */
async function deliverAll(): Promise<void> {
  await until(async () => {
    await Promise.all(services.map(({ nest }) => nest.get(Relay).runOnce()));
    return (await database.sql('SELECT FROM outbox WHERE published_at IS NULL')).length === 0;
  });
}

const orders = () => sent.map(({ accountId, orderId }) => `${accountId} ${orderId}`).sort();

interface Place {
  name: string;
  open(): Promise<Record<string, string>>;
  /** Makes all mails as old as a day. */
  passDay(): Promise<unknown>;
}

const PLACES: Place[] = [
  {
    name: 'PostgreSQL',
    open: () => Promise.resolve({}),
    passDay: () => database.sql("UPDATE mailed_orders SET mailed_at = mailed_at - interval '1 day'"),
  },
  {
    name: 'Redis',
    open: async () => ({ REDIS_URL: (redis = await startRedis()).url }),
    passDay: () => inRedis((client, keys) => Promise.all(keys.map((key) => client.expire(key, 0)))),
  },
];

async function inRedis<T>(
  use: (client: Awaited<ReturnType<RedisServer['connect']>>, keys: string[]) => Promise<T>,
): Promise<T> {
  if (!redis) throw new Error('Redis was not started');
  const client = await redis.connect();
  return use(client, await client.keys('*')).finally(() => client.destroy());
}

describe.each(PLACES.filter(({ name }) => name !== 'Redis' || !MISSING_REDIS))('the limit in $name', (place) => {
  beforeAll(async () => {
    const env = await place.open();
    services = [await start(env), await start(env)];
  });
  beforeEach(() => redis && inRedis((client) => client.flushAll()));
  afterAll(async () => {
    await Promise.all(services.map((service) => service.stop()));
    await redis?.stop();
    redis = undefined;
  });

  it('sends one mail about an order that is paid with two charges, in one batch and in two', async () => {
    await charge('a', 'order_1');
    await charge('b', 'order_1');
    await deliverAll();
    await charge('c', 'order_1');
    await deliverAll();
    expect(orders()).toEqual(['acct_a order_1']);
  });

  it('sends no mail about a charge without an order', async () => {
    await charge('a', undefined);
    await deliverAll();
    expect(sent).toEqual([]);
  });

  it('sends each account a mail about each of its orders, also if another account uses the same order_id', async () => {
    await charge('a', 'order_1');
    await charge('a', 'order_1', 'acct_b');
    await charge('b', 'order_2');
    await deliverAll();
    expect(orders()).toEqual(['acct_a order_1', 'acct_a order_2', 'acct_b order_1']);
  });

  it('sends one mail for each order when two replicas process charges of the same orders at once', async () => {
    const data = (order: number) => ({ charge_id: 'ch_1', ...CHARGE, order_id: `order_${order}` });
    const messages = Array.from({ length: 1_200 }, (_, i) => ({
      accountId: 'acct_a',
      id: `charge.succeeded.${i}`,
      type: 'charge.succeeded',
      data: data(i % 30),
      createdAt: new Date(),
    }));
    await append(database, messages);
    await deliverAll();
    expect(sent.length).toBe(30);
    expect(new Set(orders()).size).toBe(30);
  });

  it('sends a mail again if its transaction rolls back, so that the mail is not lost', async () => {
    await charge('a', 'order_1');
    let failures = 1;
    beforeMail = () => {
      if (failures-- > 0) throw new Error('the mail server did not answer');
    };
    await deliverAll();
    expect(orders()).toEqual(['acct_a order_1', 'acct_a order_1']);
    await charge('b', 'order_1');
    await deliverAll();
    expect(sent.length).toBe(2);
  });

  it('sends another mail about the same order on the next day', async () => {
    await charge('a', 'order_1');
    await deliverAll();
    await place.passDay();
    await charge('b', 'order_1');
    await deliverAll();
    await charge('c', 'order_1');
    await deliverAll();
    expect(orders()).toEqual(['acct_a order_1', 'acct_a order_1']);
  });

  if (place.name === 'PostgreSQL') {
    it('deletes the rows of past days from mailed_orders, and no others', async () => {
      await charge('a', 'order_1');
      await deliverAll();
      await place.passDay();
      await charge('b', 'order_2');
      await deliverAll();
      expect(await (limitOf(services[0] as TestService) as PostgresMailLimit).runOnce()).toBe(1);
      expect(await database.sql('SELECT order_id FROM mailed_orders')).toEqual([{ order_id: 'order_2' }]);
    });
  } else {
    it('writes no row to mailed_orders, and Redis forgets the mail after 24 hours', async () => {
      await charge('a', 'order_1');
      await deliverAll();
      expect(await database.sql('SELECT FROM mailed_orders')).toEqual([]);
      const lifetimes = await inRedis((client, keys) => Promise.all(keys.map((key) => client.ttl(key))));
      expect(lifetimes).toHaveLength(1);
      expect(lifetimes[0]).toBeLessThanOrEqual(86_400);
      expect(lifetimes[0]).toBeGreaterThan(82_800);
    });

    it('sends mails without a limit while Redis is unavailable, and limits them again afterwards', async () => {
      jest.spyOn(Logger.prototype, 'warn').mockReturnValue();
      await redis?.kill();
      await charge('a', 'order_1');
      await deliverAll();
      await charge('b', 'order_1');
      await deliverAll();
      expect(orders()).toEqual(['acct_a order_1', 'acct_a order_1']);
      await redis?.restart();
      // Each replica limits mails again when it has connected again.
      let attempts = 0;
      await until(async () => {
        const before = sent.length;
        await charge(`again-${++attempts}`, 'order_2');
        await charge(`and-again-${attempts}`, 'order_2');
        await deliverAll();
        return sent.length === before;
      });
    });

    it('sends mails without a limit while Redis does not answer', async () => {
      jest.spyOn(Logger.prototype, 'warn').mockReturnValue();
      redis?.signal('SIGSTOP');
      try {
        await charge('a', 'order_1');
        await deliverAll();
        await charge('b', 'order_1');
        await deliverAll();
        expect(orders()).toEqual(['acct_a order_1', 'acct_a order_1']);
      } finally {
        redis?.signal('SIGCONT');
      }
    });

    it('starts and stops while Redis is unavailable or does not answer', async () => {
      jest.spyOn(Logger.prototype, 'warn').mockReturnValue();
      redis?.signal('SIGSTOP');
      try {
        for (const url of [redis?.url ?? '', 'redis://127.0.0.1:1']) await (await start({ REDIS_URL: url })).stop();
      } finally {
        redis?.signal('SIGCONT');
      }
    });
  }
});

describe('a mail', () => {
  it('is a line in the log that names the account and the order', () => {
    const log = jest.spyOn(Logger.prototype, 'log').mockReturnValue();
    new Mailer().send({ accountId: 'acct_a', orderId: 'order_1', messageId: 'charge.succeeded.ch_1' });
    expect(log).toHaveBeenCalledWith('Mail to acct_a: the order order_1 was charged');
  });

  if (MISSING_REDIS)
    it.skip(`is not limited by Redis in this run, because ${MISSING_REDIS} is not set`, () => undefined);
});
