import fc from 'fast-check';
import type { ProblemCode } from '../../src/http/problem.js';
import type { Account } from '../support/client.js';
import { type Answer, JSON_TYPE, send } from '../support/wire.js';

export type Json = null | string | number | Json[] | { [name: string]: Json };

/** A request that the model can judge. Its parts come from small pools, so that requests often collide. */
export interface Request {
  account: Account;
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  resource: 'charges' | 'refunds' | 'orders' | 'inventory' | 'customers' | 'idempotency-keys';
  id?: string;
  /** Which of the known charges the id stands for. The id is replaced when the request is sent for the first time. */
  which?: number;
  /** Values of Idempotency-Key, one header each. */
  keyHeaders: string[];
  /** The key in these headers; undefined if there is no header or it is malformed. */
  key?: string;
  ifMatch?: IfMatch;
  body?: Record<string, Json>;
  /** The error of a body that must be refused. */
  refusal?: ProblemCode;
  /** Sends the same JSON in an unusual spelling. */
  isSpeltOddly: boolean;
}

/** The version in If-Match, relative to the version that the model knows before the request is sent. */
export type IfMatch = 'current' | 'old' | '*' | 'malformed';

const KEYS = ['key_1', 'key_2', 'key_3'];
const ITEMS = ['beans', 'cups'];
const ORDERS = ['order_1', 'order_2'];
const CUSTOMERS = ['ada', 'bob'];

const CHARGES: Record<string, Json>[] = [
  { amount: 500, currency: 'eur', description: 'caf\u00e9 \u{1f600}', metadata: { b: '1', a: '2' } },
  { amount: 500, currency: 'EUR', source: 'tok_visa' },
  { amount: 300, currency: 'usd', source: 'tok_mastercard', order_id: 'order_1' },
  { amount: 200, currency: 'eur', order_id: 'order_1' },
  { amount: 250, currency: 'eur', order_id: 'order_2' },
  { amount: 500, currency: 'eur', source: 'tok_chargeDeclined', order_id: 'order_2' },
  { amount: 700, currency: 'eur', source: 'tok_insufficientFunds' },
  { amount: 900, currency: 'eur', source: 'tok_unavailable', order_id: 'order_1' },
];
/** A charge whose bank answer is lost. It is generated rarely, and sent at once with other requests only as a repeat. */
const LOST_CHARGE: Record<string, Json> = { amount: 100, currency: 'usd', source: 'tok_timeout' };
const REFUSED_CHARGES: [Record<string, Json>, ProblemCode][] = [
  [{ amount: 0, currency: 'eur' }, 'validation_failed'],
  [{ amount: 1.5, currency: 'eur' }, 'validation_failed'],
  [{ amount: 500, currency: 'zzz' }, 'validation_failed'],
  [{ amount: 500, currency: 'eur', unknown: 1 }, 'validation_failed'],
  [{ amount: 500, currency: 'eur', description: 'card 4242 4242 4242 4242' }, 'card_data_refused'],
];

const line = (item_id: string, quantity: number, unit_amount: number) => ({ item_id, quantity, unit_amount });
const ORDER_CONTENTS: Record<string, Json>[] = [
  { items: [line('beans', 2, 100)] },
  { items: [line('beans', 2, 100)], currency: 'EUR' },
  { items: [line('beans', 2, 100)], currency: 'usd' },
  { items: [line('beans', 2, 100), line('cups', 1, 50)], customer_id: 'ada' },
  { items: [line('cups', 1, 50), line('beans', 2, 100)], customer_id: 'ada' },
  { items: [line('cups', 4, 0)] },
];
const REFUSED_ORDERS: Record<string, Json>[] = [
  { items: [] },
  { items: [line('beans', 1, 1), line('beans', 1, 1)] },
  { items: [line('beans', 0, 1)] },
];

const PEOPLE: Record<string, Json>[] = [
  { name: 'Ada', email: 'ada@example.com', status: 'active' },
  { name: 'Ada', email: 'ada@example.com', status: 'inactive' },
  { name: 'Bob', email: 'bob@example.com', status: 'active' },
];
const CHANGES: Record<string, Json>[] = [{ name: 'Ada' }, { name: 'Eve', status: 'inactive' }, { status: 'active' }];
const REFUSED_CHANGES: Record<string, Json>[] = [{ name: '' }, { name: null }, { status: 'gone' }, { version: 7 }, {}];

const account = fc.constantFrom<Account>('acct_a', 'acct_a', 'acct_a', 'acct_b');
const goodKey: fc.Arbitrary<Partial<Request>> = fc
  .tuple(fc.constantFrom(...KEYS), fc.constantFrom('', '', '"'))
  .map(([key, quote]) => ({ keyHeaders: [quote + key + quote], key }));
const badKey: fc.Arbitrary<Partial<Request>> = fc
  .constantFrom([''], ['key 1'], ['"key_1'], ['k'.repeat(256)], ['key_1', 'key_1'])
  .map((keyHeaders) => ({ keyHeaders: [...keyHeaders] }));
const noKey = fc.constant<Partial<Request>>({});
const ifMatch = (...some: (IfMatch | undefined)[]) =>
  fc.constantFrom(...some).map((one): Partial<Request> => (one === undefined ? {} : { ifMatch: one }));
const seldomIfMatch = ifMatch(...Array<undefined>(5), 'current', 'old', '*', 'malformed');
const mostlyIfMatch = ifMatch(...Array<IfMatch>(5).fill('current'), 'old', 'old', undefined, '*', 'malformed');

const often = <T>(arbitrary: fc.Arbitrary<T>, weight = 1) => ({ arbitrary, weight });
const accepted = (bodies: Record<string, Json>[]) => fc.constantFrom(...bodies).map((body) => ({ body }));
const REFUSAL: ProblemCode = 'validation_failed';
const refused = (bodies: Record<string, Json>[]) =>
  fc.constantFrom(...bodies).map((body) => ({ body, refusal: REFUSAL }));

/** Generates requests from generators of some of their members. */
function requestOf(
  method: Request['method'],
  resource: Request['resource'],
  ...parts: fc.Arbitrary<Partial<Request>>[]
): fc.Arbitrary<Request> {
  return fc.tuple(account, fc.boolean(), ...parts).map(([account, isSpeltOddly, ...rest]) =>
    rest.reduce<Request>((whole, part) => ({ ...whole, ...part }), {
      ...{ account, method, resource, isSpeltOddly },
      keyHeaders: [],
    }),
  );
}
const named = (ids: string[]) => fc.constantFrom(...ids).map((id) => ({ id }));
const optionalKey = fc.oneof(often(goodKey, 5), often(noKey, 4), often(badKey));

const chargeOf = (body: fc.Arbitrary<Partial<Request>>) =>
  requestOf('POST', 'charges', fc.oneof(often(goodKey, 12), often(noKey), often(badKey)), body);
const orderBody = fc
  .tuple(fc.constantFrom(...ORDERS), fc.oneof(often(accepted(ORDER_CONTENTS), 8), often(refused(REFUSED_ORDERS))))
  .map(([order_id, part]) => ({ ...part, body: { order_id, ...part.body } }));
const refusedCharge = fc.constantFrom(...REFUSED_CHARGES).map(([body, refusal]) => ({ body, refusal }));

const REFUNDS: Record<string, Json>[] = [
  {},
  { amount: 100, reason: 'caf\u00e9 \u{1f600}' },
  { amount: 200, reason: null },
  { amount: 450 },
  { amount: 99_999_999 },
];
const REFUSED_REFUNDS: Record<string, Json>[] = [{ amount: 0 }, { amount: 1.5 }, { reason: 5 }, { currency: 'eur' }];
/** A charge that exists if the account has any. */
const anyCharge = fc.nat({ max: 3 }).map((which) => ({ which, id: 'ch_unknown' }));
const refundOf = (body: fc.Arbitrary<Partial<Request>>) =>
  requestOf('POST', 'refunds', fc.oneof(often(goodKey, 12), often(noKey), often(badKey)), anyCharge, body);

/** Generates requests that may be sent at once. */
export const request: fc.Arbitrary<Request> = fc.oneof(
  often(chargeOf(fc.oneof(often(accepted(CHARGES), 10), often(refusedCharge, 2))), 6),
  often(refundOf(fc.oneof(often(accepted(REFUNDS), 10), often(refused(REFUSED_REFUNDS)))), 6),
  often(requestOf('GET', 'charges', anyCharge)),
  often(requestOf('POST', 'orders', optionalKey, orderBody), 10),
  often(requestOf('PUT', 'inventory', named(ITEMS), accepted([{ stock: 6 }, { stock: 4 }, { stock: 2 }])), 6),
  often(requestOf('PUT', 'inventory', named(ITEMS), refused([{ stock: -1 }, { stock: 0.5 }, {}]))),
  often(requestOf('DELETE', 'inventory', named(ITEMS))),
  often(requestOf('PUT', 'customers', named(CUSTOMERS), seldomIfMatch, accepted(PEOPLE)), 6),
  often(requestOf('PUT', 'customers', named(CUSTOMERS), refused([{ name: 'Ada' }, {}]))),
  often(requestOf('PATCH', 'customers', named(CUSTOMERS), optionalKey, mostlyIfMatch, accepted(CHANGES)), 7),
  often(requestOf('PATCH', 'customers', named(CUSTOMERS), optionalKey, mostlyIfMatch, refused(REFUSED_CHANGES))),
  often(requestOf('DELETE', 'customers', named(CUSTOMERS), seldomIfMatch), 2),
  often(requestOf('GET', 'orders', named(ORDERS))),
  often(requestOf('GET', 'inventory', named(ITEMS))),
  often(requestOf('GET', 'customers', named(CUSTOMERS))),
  often(requestOf('GET', 'idempotency-keys', named(KEYS))),
);

/** Generates a charge that the bank captures and does not answer at first. */
export const lostCharge = chargeOf(fc.constant({ body: LOST_CHARGE }));

export function pathOf({ resource, id }: Request): string {
  if (resource === 'refunds') return `/charges/${id}/refunds`;
  return id === undefined ? `/${resource}` : `/${resource}/${id}`;
}

/** Sends a request on its own connection. @param tag the value of If-Match */
export function sendTo(url: string, request: Request, tag: string | undefined): Promise<Answer> {
  const { account, method, keyHeaders, body, isSpeltOddly } = request;
  return send(url, {
    method,
    path: pathOf(request),
    headers: [
      ...['Authorization', `Bearer sk_${account.slice(-1)}`],
      ...keyHeaders.flatMap((value) => ['Idempotency-Key', value]),
      ...(tag === undefined ? [] : ['If-Match', tag]),
      ...(body === undefined ? [] : JSON_TYPE),
    ],
    body: body === undefined ? '' : isSpeltOddly ? spellOddly(body) : JSON.stringify(body),
  });
}

/** Writes the same JSON with members in reverse, white space, 1 as 1.0, and letters as escapes. */
function spellOddly(value: Json): string {
  if (value === null) return 'null';
  if (typeof value === 'number') return Number.isInteger(value) ? `${value}.0` : `${value}e0`;
  if (typeof value === 'string') {
    const units = value.split('').map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
    return `"${units.join('')}"`;
  }
  if (Array.isArray(value)) return `[ ${value.map(spellOddly).join(' , ')} ]`;
  const members = Object.entries(value).reverse();
  return `{\n${members.map(([name, member]) => `${spellOddly(name)} : ${spellOddly(member)}`).join(',\t')} }`;
}
