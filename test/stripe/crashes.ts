import { strict as assert } from 'node:assert';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Stripe } from 'stripe';
import { portToKeep } from '../../harness/free-port.js';
import { Program, startAlone } from '../../harness/processes.js';
import { createStripe } from '../../src/charges/gateway/stripe/stripe.client.js';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';

const CHARGES = 60;
const CLIENTS = 12;
const KILLS = 5;
const RETRY_PAUSE_MS = 50;
const TIMEOUT_MS = 10_000;

const SOURCES = ['tok_visa', 'tok_mastercard', 'tok_chargeDeclined'];
const sourceOf = (key: number) => SOURCES[key % SOURCES.length] ?? '';
const isDeclined = (key: number) => sourceOf(key) === 'tok_chargeDeclined';

interface Reply {
  status: number;
  /** The id of the charge. */
  id: string;
}

/**
 * Kills the service while clients charge, in front of a Stripe that loses every third answer and forgets every idempotency key at once. So nothing but
 * the committed PaymentIntent prevents a second payment.
 *
 * @throws AssertionError if a charge has taken money other than its reply says
 */
export async function surviveWithoutKeys(show: (step: string) => void): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'payments-stripe-'));
  const postgres = await EmbeddedPostgres.start({ directory, durable: true, throwaway: true });
  try {
    const fake = Program.start(fileURLToPath(new URL('serve.js', import.meta.url)), {
      args: ['--port', '0', '--key-life-seconds', '0', '--lose-percent', '33'],
    });
    const stripe = { STRIPE_API_KEY: 'sk_test_fake', STRIPE_API_BASE: await fake.served() };
    const port = String(await portToKeep());
    const env = {
      ...stripe,
      DATABASE_URL: postgres.url,
      PORT: port,
      GATEWAY_TIMEOUT_MS: '2000',
      IDEMPOTENCY_LEASE_SECONDS: '3',
      RECOVERY_INTERVAL_MS: '200',
      LOG_LEVEL: 'fatal',
    };
    const start = async (): Promise<Program> => {
      const started = startAlone('src/main.js', env);
      await started.served();
      return started;
    };
    let service = await start();
    const replies = new Map<number, Reply>();
    const load = runClients(`http://127.0.0.1:${port}`, replies);
    for (let kill = 1; kill <= KILLS; kill++) {
      // After a part of the replies, so that every kill hits charges in flight.
      while (replies.size < (kill * CHARGES) / (KILLS + 1)) await pause(RETRY_PAUSE_MS);
      show(`kill ${kill} of ${KILLS}`);
      await service.end();
      service = await start();
    }
    await load;
    await service.end();
    return compare(replies, await intentsAt(await createStripe({ ...stripe, GATEWAY_TIMEOUT_MS: TIMEOUT_MS })));
  } finally {
    await postgres.stop();
  }
}

/** Sends every charge until it has its final reply. */
async function runClients(url: string, replies: Map<number, Reply>): Promise<void> {
  const keys = Array.from({ length: CHARGES }, (_, key) => key);
  const client = async () => {
    for (let key = keys.shift(); key !== undefined; key = keys.shift()) {
      let reply = await send(url, key);
      while (!reply) {
        await pause(RETRY_PAUSE_MS);
        reply = await send(url, key);
      }
      replies.set(key, reply);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

/** @returns undefined if the charge has no final reply yet */
async function send(url: string, key: number): Promise<Reply | undefined> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': `key_${key}` };
  const body = JSON.stringify({ amount: 1999, currency: 'eur', source: sourceOf(key) });
  try {
    const answer = await fetch(`${url}/charges`, { method: 'POST', headers, body });
    const { id, charge_id } = (await answer.json()) as { id?: string; charge_id?: string };
    return answer.status === 200 || answer.status === 402
      ? { status: answer.status, id: id ?? charge_id ?? '' }
      : undefined;
  } catch {
    return undefined; // The service is down, or it died before its answer was complete.
  }
}

/** All PaymentIntents, because the list of an SDK fetches one page after another. */
async function intentsAt(stripe: Stripe): Promise<Stripe.PaymentIntent[]> {
  for (;;) {
    try {
      return await stripe.paymentIntents.list({ limit: 100 }).autoPagingToArray({ limit: 10_000 });
    } catch {
      // This answer was lost as well.
    }
  }
}

function compare(replies: ReadonlyMap<number, Reply>, intents: readonly Stripe.PaymentIntent[]): string {
  assert.equal(replies.size, CHARGES);
  for (const [key, { status, id }] of replies) {
    const statuses = intents.filter(({ metadata }) => metadata['charge_id'] === id).map((intent) => intent.status);
    assert.equal(status, isDeclined(key) ? 402 : 200, `key ${key}`);
    assert.equal(
      statuses.filter((each) => each === 'succeeded').length,
      isDeclined(key) ? 0 : 1,
      `${id}: ${statuses.join()}`,
    );
  }
  const captured = intents.filter(({ status }) => status === 'succeeded').length;
  return `${replies.size} charges, ${captured} payments, ${intents.length} intents, ${KILLS} kills`;
}
