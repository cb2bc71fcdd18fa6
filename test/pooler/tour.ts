import { strict as assert } from 'node:assert';

const CHARGE = { amount: 1999, currency: 'eur' };
const ORDER = { order_id: 'o1', items: [{ item_id: 'beans', quantity: 2, unit_amount: 500 }] };
const CUSTOMER = { name: 'Ada', email: 'ada@example.com', status: 'active' };

/** One request for each kind of statement, in an order in which each has what it needs: method, path, status, body and headers. */
const REQUESTS: [method: string, path: string, status: number, body?: object, headers?: Record<string, string>][] = [
  ['GET', '/health/ready', 200],
  ['POST', '/charges', 200, CHARGE, { 'idempotency-key': 'tour-1' }],
  ['POST', '/charges', 200, CHARGE, { 'idempotency-key': 'tour-1' }],
  ['POST', '/charges', 422, { ...CHARGE, amount: 1 }, { 'idempotency-key': 'tour-1' }],
  ['POST', '/charges', 402, { ...CHARGE, source: 'tok_chargeDeclined' }, { 'idempotency-key': 'tour-2' }],
  ['GET', '/charges?limit=1', 200],
  ['GET', '/idempotency-keys/tour-1', 200],
  ['PUT', '/inventory/beans', 201, { stock: 3 }],
  ['PUT', '/inventory/beans', 200, { stock: 3 }],
  ['POST', '/orders', 200, ORDER],
  ['POST', '/orders', 200, ORDER, { 'idempotency-key': 'tour-3' }],
  ['POST', '/orders', 409, { ...ORDER, order_id: 'o2' }, { 'idempotency-key': 'tour-4' }],
  ['GET', '/orders/o1', 200],
  ['GET', '/orders', 200],
  ['DELETE', '/inventory/beans', 204],
  ['PUT', '/customers/c1', 201, CUSTOMER],
  ['PATCH', '/customers/c1', 200, { name: 'Grace' }, { 'if-match': '"1"', 'idempotency-key': 'tour-5' }],
  ['PATCH', '/customers/c1', 412, { name: 'Alan' }, { 'if-match': '"1"' }],
  ['DELETE', '/customers/c1', 204],
  ['GET', '/balance', 200],
  ['GET', '/metrics', 200],
];

/** Sends every kind of request, and compares the statuses with those that the service gives without a pooler. */
export async function takeTour(url: string): Promise<number> {
  for (const [method, path, status, body, headers] of REQUESTS) {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
    assert.equal(response.status, status, `${method} ${path}: ${response.status} ${await response.text()}`);
  }
  return REQUESTS.length;
}
