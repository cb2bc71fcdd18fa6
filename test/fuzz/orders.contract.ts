import { expect } from '@jest/globals';
import { type Answer, expectProblem } from '../support/wire.js';
import { isPaid, type Ledger, type Order } from './ledger.js';
import type { Json, Request } from './requests.js';

interface Line {
  item_id: string;
  quantity: number;
  unit_amount: number;
}

/** Judges POST and GET of orders. */
export function judgeOrder(ledger: Ledger, { method, id, body = {} }: Request, answer: Answer): void {
  if (method === 'GET') {
    const order = ledger.orders.get(id ?? '');
    return order ? expectOrder(ledger, id ?? '', order, answer) : void expectProblem(answer, 404, 'not_found');
  }
  const order_id = body['order_id'] as string;
  const wanted = contentOf(body);
  const held = ledger.orders.get(order_id);
  if (held) {
    if (JSON.stringify({ ...held, created_at: '' }) === JSON.stringify(wanted))
      return expectOrder(ledger, order_id, held, answer);
    expect(expectProblem(answer, 422, 'order_id_reused')['outcome']).toBe('final');
    return;
  }
  const lines = wanted.items as unknown as Line[];
  const available = (item_id: string) => ledger.stock.get(item_id) ?? 0;
  const missing = lines.filter(({ item_id, quantity }) => quantity > available(item_id));
  if (missing.length > 0) {
    expect(expectProblem(answer, 409, 'insufficient_stock')['items']).toEqual(
      missing.map(({ item_id, quantity }) => ({ item_id, requested: quantity, available: available(item_id) })),
    );
    return;
  }
  const { created_at } = JSON.parse(answer.text) as { created_at: string };
  const order = { ...wanted, created_at };
  expectOrder(ledger, order_id, order, answer);
  ledger.orders.set(order_id, order);
  for (const { item_id, quantity } of lines) ledger.stock.set(item_id, available(item_id) - quantity);
}

function contentOf({ currency = 'eur', customer_id = null as never, items }: Record<string, Json>): Order {
  const lines = items as unknown as Line[];
  return {
    amount: lines.reduce((sum, { quantity, unit_amount }) => sum + quantity * unit_amount, 0),
    currency: (currency as string).toLowerCase(),
    customer_id,
    items: items ?? [],
    created_at: '',
  };
}

function expectOrder(ledger: Ledger, order_id: string, order: Order, answer: Answer): void {
  const isCovered = isPaid(ledger, order_id, order);
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.text)).toEqual({
    order_id,
    object: 'order',
    status: isCovered ? 'paid' : 'placed',
    paid_at: isCovered ? expect.stringMatching(/^\d{4}-.*Z$/) : null,
    ...order,
  });
}

/** Judges PUT, GET and DELETE of inventory. */
export function judgeStock({ stock }: Ledger, { method, id = '', body }: Request, answer: Answer): void {
  const held = stock.get(id);
  if (method === 'DELETE') {
    expect([answer.status, answer.text]).toEqual([204, '']);
    stock.delete(id);
    return;
  }
  if (method === 'GET' && held === undefined) return void expectProblem(answer, 404, 'not_found');
  const wanted = method === 'PUT' ? (body?.['stock'] as number) : held;
  expect(answer.status).toBe(method === 'PUT' && held === undefined ? 201 : 200);
  expect(JSON.parse(answer.text)).toEqual({ item_id: id, object: 'inventory_item', stock: wanted });
  stock.set(id, wanted ?? 0);
}
