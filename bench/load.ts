import autocannon from 'autocannon';
import type { Job, Keys, Operation, Tally } from './measurement.js';
import { mixedRequest } from './mix.js';
import { type Outgoing, sendEvenly } from './paced.js';
import { ready, workOn } from './worker.js';

/** A job for the load generator. */
export interface LoadJob extends Job {
  /** The URL of the server, without a path, or the URLs of replicas, to each of which an equal share of the connections goes. */
  url: string | readonly string[];
}

/** The body of every charge: that of the README, so that a reader can compare them. */
const BODY = JSON.stringify({ amount: 1999, currency: 'eur' });
/** An order of one piece. The last two digits of its name choose one of a hundred items. */
const orderOf = (name: string) =>
  JSON.stringify({ order_id: name, items: [{ item_id: `item_${name.slice(-2)}`, quantity: 1, unit_amount: 1999 }] });

/** The text before the part of an item's name that differs. */
const ITEM = '"item_id":"item_';

const PATHS: Record<Exclude<Operation, 'mixed'>, string> = { charge: '/charges', order: '/orders' };
const DIGITS = 8;
/** autocannon checks at this interval whether it is done. The measured time ends with the last answer. */
const LOOK_INTERVAL_MS = 100;
/** Far longer than any answer takes, even behind 63 other requests. */
const TIMEOUT_SECONDS = 30;

/** Members of autocannon's client that its types do not contain. */
interface Client {
  getRequestBuffer(): Buffer;
  on(event: 'request', listener: () => void): void;
}

/** Returns a function that gives the keys of a job, one after the other, all of the same length. */
function keysOf(keys: Keys): () => string {
  let next = 0;
  switch (keys.kind) {
    case 'fresh':
      return () => numbered(keys.prefix, next++);
    case 'known':
      return () => numbered(keys.prefix, next++ % keys.count);
    case 'one':
      return () => keys.key;
  }
}

const numbered = (prefix: string, number: number) => `${prefix}-${String(number).padStart(DIGITS, '0')}`;

/** Returns a function that gives the requests of a job, one after the other. Only jobs with a fixed rate use it. */
function requestsOf({ keys, operation = 'charge' }: Job): () => Outgoing {
  const charge = (key: string): Outgoing => ({ path: PATHS.charge, body: BODY, key });
  // An order comes without a key, because its id is a natural key.
  const order = (name: string): Outgoing => ({ path: PATHS.order, body: orderOf(name) });
  const nextKey = keysOf(keys);
  if (operation === 'charge') return () => charge(nextKey());
  const nextNew = keysOf({ kind: 'fresh', prefix: `${keys.kind === 'one' ? keys.key : keys.prefix}-new` });
  if (operation === 'order') return () => order(nextNew());
  let number = 0;
  return () => {
    switch (mixedRequest(number++)) {
      case 'fresh':
        return charge(nextNew());
      case 'replay':
        return charge(nextKey());
      case 'order':
        return order(nextNew());
    }
  };
}

/** Sends the next request on a connection as soon as the last one is answered, with autocannon. */
async function sendAsAnswered(job: LoadJob, tally: Tally): Promise<void> {
  const urls = [job.url].flat();
  const nextKey = keysOf(job.keys);
  const shares = urls.map((url) => sendTo(url, urls.length, job, nextKey, tally));
  await Promise.all(shares);
}

/** Sends one of `shares` equal shares of a job. */
async function sendTo(url: string, shares: number, job: LoadJob, nextKey: () => string, tally: Tally): Promise<void> {
  const { until, keys, operation = 'charge' } = job;
  const anyKey = keysOf(keys)();
  let firstAnswer: string | undefined;
  const isSame = (body: unknown) => (firstAnswer ??= String(body)) === body;

  const setUp = (given: autocannon.Client) => {
    const client = given as unknown as Client;
    const request = client.getRequestBuffer();
    const keyAt = request.indexOf(anyKey);
    const nameAt = request.indexOf(anyKey, keyAt + 1);
    const itemAt = request.indexOf(ITEM) + ITEM.length;
    client.on('request', () => {
      tally.sent++;
      // autocannon builds a request once and sends it 22,000 times a second to a bare server on this machine. Overwriting the key in
      // those bytes leaves 21,000 a second. autocannon's own ways to change a header leave 15,000 to 18,000.
      if (keys.kind === 'one') return;
      const key = nextKey();
      request.write(key, keyAt, 'latin1');
      if (operation === 'charge') return;
      request.write(key, nameAt, 'latin1');
      request.write(key.slice(-2), itemAt, 'latin1');
    });
  };
  await new Promise<void>((resolve, reject) => {
    const run = autocannon(
      {
        url: `${url}${operation === 'order' ? PATHS.order : PATHS.charge}`,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': anyKey },
        body: operation === 'charge' ? BODY : orderOf(anyKey),
        connections: job.connections / shares,
        ...('seconds' in until ? { duration: until.seconds } : { amount: until.requests / shares }),
        sampleInt: LOOK_INTERVAL_MS,
        timeout: TIMEOUT_SECONDS,
        setupClient: setUp,
        ...(keys.kind === 'one' && { verifyBody: isSame }),
      },
      (error, result) => {
        if (error) return reject(error as Error);
        tally.broken += result.errors;
        tally.mismatched += result.mismatches;
        resolve();
      },
    );
    run.on('response', (_client, status, _bytes, latencyMs) => tally.answer(latencyMs, status >= 200 && status < 300));
  });
}

workOn<LoadJob>((job, tally) => {
  const { ratePerSecond, until, connections } = job;
  if (ratePerSecond === undefined) return sendAsAnswered(job, tally);
  const total = 'requests' in until ? until.requests : Math.round(until.seconds * ratePerSecond);
  const [url = ''] = [job.url].flat();
  return sendEvenly({ url, connections, total, ratePerSecond }, requestsOf(job), tally);
});
ready();
