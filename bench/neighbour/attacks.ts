import { NOISY_ACCOUNT } from './accounts.js';
import { charge, get, type Outgoing, post } from './requests.js';

/** One way to disturb the other accounts of a service. */
export interface Attack {
  /** Tells the sending process which attack to run, and is part of the idempotency keys. */
  id: string;
  /** The name in headings and charts, so it is short. */
  name: string;
  /** A description of the requests for the document, in Markdown and without a full stop. */
  load: string;
  /**
   * `turnsPerSecond` turns start each second, without waiting for answers. Or `turnsAtATime` turns run at a time, and the next turn starts
   * when one of them is answered.
   */
  pace: { turnsPerSecond: number } | { turnsAtATime: number };
  /** The requests of one turn, which are sent at the same time. Their number is the same in every turn. */
  turn: (number: number, prefix: string) => readonly Outgoing[];
  /** Every status that the service may answer with. Any other status fails the benchmark. */
  answers: readonly number[];
  /** The effect in the database of each request that is answered with 200. */
  effect: 'charge' | 'none';
}

/** Bytes of the body limit of the service. */
const BODY_LIMIT_BYTES = 256 * 1024;
/** Just below the 16 KiB that Node accepts as the head of a request. */
const QUERY_CHARACTERS = 14_000;
const UNKNOWN_MEMBERS = 20_000;
const ELEMENTS = 87_000;

const ONES_AND_DOTS = `/health/live?a=${'1.'.repeat(QUERY_CHARACTERS / 2)}`;
const ONES_AND_SPACES = JSON.stringify({
  amount: 1999,
  currency: 'eur',
  // The other members take less than 100 bytes.
  description: '1 '.repeat((BODY_LIMIT_BYTES - 100) / 2),
});
const MEMBERS = JSON.stringify({
  amount: 1999,
  currency: 'eur',
  ...Object.fromEntries(Array.from({ length: UNKNOWN_MEMBERS }, (_, i) => [`m${i}`, 1])),
});
const LISTS = JSON.stringify({ order_id: 'lists', items: Array.from({ length: ELEMENTS }, () => []) });
const orderWithoutStock = (orderId: string, quantity: number) =>
  JSON.stringify({ order_id: orderId, items: [{ item_id: 'never_stocked', quantity, unit_amount: 1999 }] });

/** All attacks. To add one, add an entry. */
export const ATTACKS: readonly Attack[] = [
  {
    id: 'query',
    name: '14 KB query, no key',
    load: '25 requests a second without an API key: `GET /health/live?a=1.1.1…` of 14 KB',
    pace: { turnsPerSecond: 25 },
    turn: () => [get(ONES_AND_DOTS)],
    answers: [200, 400, 414],
    effect: 'none',
  },
  {
    id: 'digits',
    name: '256 KiB of digits',
    load: '2 charges a second with a description of 256 KiB, in which digits and spaces alternate',
    pace: { turnsPerSecond: 2 },
    turn: (number, prefix) => [charge(NOISY_ACCOUNT, `${prefix}-${number}`, ONES_AND_SPACES)],
    answers: [400, 413],
    effect: 'none',
  },
  {
    id: 'elements',
    name: 'Huge lists and objects',
    load: 'One body a second, alternately a charge with 20,000 unknown members and an order with a list of 87,000 elements',
    pace: { turnsPerSecond: 1 },
    // The larger body is sent first, so that even the shortest run sends it.
    turn: (number, prefix) => [
      number % 2 === 0 ? post('/orders', NOISY_ACCOUNT, LISTS) : charge(NOISY_ACCOUNT, `${prefix}-${number}`, MEMBERS),
    ],
    answers: [400, 413],
    effect: 'none',
  },
  {
    id: 'pairs',
    name: '16 pairs of orders',
    load: '16 pairs of orders at a time. The two orders of a pair differ but have the same `order_id`, and their item is not in stock',
    pace: { turnsAtATime: 16 },
    turn: (number, prefix) =>
      [1, 2].map((quantity) => post('/orders', NOISY_ACCOUNT, orderWithoutStock(`${prefix}-${number}`, quantity))),
    answers: [409],
    effect: 'none',
  },
  {
    id: 'scrapes',
    name: '200 readers of /metrics',
    load: '200 connections without an API key that read `/metrics`',
    pace: { turnsAtATime: 200 },
    turn: () => [get('/metrics')],
    answers: [200],
    effect: 'none',
  },
  {
    id: 'charges',
    name: '400 connections',
    load: '400 connections with ordinary charges of one account',
    pace: { turnsAtATime: 400 },
    turn: (number, prefix) => [charge(NOISY_ACCOUNT, `${prefix}-${number}`)],
    // The service may answer 503, because it bounds the number of requests that one account has waiting.
    answers: [200, 503],
    effect: 'charge',
  },
];

/** @throws Error for an id that no attack has */
export function attackOf(id: string): Attack {
  const attack = ATTACKS.find((one) => one.id === id);
  if (!attack) throw new Error(`There is no attack ${id}`);
  return attack;
}
