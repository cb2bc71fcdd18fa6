import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { PAGE_BYTES } from '../http/page.input.js';
import { Problem } from '../http/problem.js';
import type { IdempotentRequest, RecordedReply } from '../idempotency/index.js';
import type { ListOrders } from './dto/list-orders.dto.js';
import type { OrderList } from './dto/order-list.resource.js';
import { type OrderResource, toResource } from './dto/order.resource.js';
import type { PlaceOrder } from './dto/place-order.dto.js';
import { Order } from './order.entity.js';
import { placeOrder } from './orders.phases.js';

/** Places and reads the orders of one account. */
@Injectable()
export class OrdersService {
  constructor(@InjectRepository(Order) private readonly orders: Repository<Order>) {}

  /** Places an order in one commit, because an order has no effect outside of our database. */
  place(request: IdempotentRequest, input: PlaceOrder): Promise<RecordedReply> {
    return request.complete(placeOrder, input);
  }

  /** @throws Problem 404 `not_found`, also if the order belongs to another account */
  async find(accountId: string, orderId: string): Promise<OrderResource> {
    const order = await this.orders.findOneBy({ account_id: accountId, order_id: orderId });
    if (!order) throw new Problem('not_found', 'There is no order with this order_id.');
    return toResource(order);
  }

  /**
   * Returns a page of orders, newest first. Orders with the same creation time are sorted by `order_id`, also descending. The
   * page has at most `limit` orders. If the size of the page reaches {@link PAGE_BYTES} before that, the page ends there.
   *
   * @throws Problem 404 `not_found` if `starting_after` is not an order of this account, because an empty page would
   * mean that the account has no older orders
   */
  async list(accountId: string, { limit, starting_after }: ListOrders): Promise<OrderList> {
    const page = await this.orders.query<PageRow[]>(PAGE, [accountId, starting_after ?? null, limit, PAGE_BYTES]);
    if (page.length === 0 && starting_after !== undefined) {
      const isKnown = await this.orders.existsBy({ account_id: accountId, order_id: starting_after });
      if (!isKnown) throw new Problem('not_found', 'There is no order with the order_id in starting_after.');
    }
    const data = page.map((order) => toResource({ ...order, amount: Number(order.amount) }));
    return { object: 'list', data, has_more: page.at(-1)?.has_more ?? false };
  }
}

/** A row as pg returns it. The amount is a string, because pg returns a bigint as a string. */
type PageRow = Omit<Order, 'amount'> & { amount: string; has_more: boolean };

// $1 account, $2 the order_id of the last order of the previous page, $3 maximum number of orders, $4 size in bytes at
// which the page ends. The recursion reads one order after another and stops when `bytes` reaches $4. A LIMIT alone would
// also read large orders that do not fit on the page.
// `position` counts the orders of the page, and `bytes` adds up their sizes.
const PAGE = `
  WITH RECURSIVE page (placed, position, bytes) AS (
    (SELECT newest, 1, octet_length(newest::text) FROM orders AS newest
     WHERE account_id = $1 AND ($2::text IS NULL OR (created_at, order_id) < (
       SELECT last.created_at, last.order_id FROM orders AS last WHERE last.account_id = $1 AND last.order_id = $2))
     ORDER BY created_at DESC, order_id DESC LIMIT 1)
    UNION ALL
    SELECT next.placed, position + 1, bytes + octet_length(next.placed::text) FROM page, LATERAL (
      SELECT older AS placed FROM orders AS older
      WHERE account_id = $1 AND (created_at, order_id) < ((page.placed).created_at, (page.placed).order_id)
      ORDER BY created_at DESC, order_id DESC LIMIT 1) AS next
    WHERE position < $3 AND bytes < $4
  )
  SELECT (placed).*, EXISTS (
    SELECT FROM orders WHERE account_id = $1 AND (created_at, order_id) < ((page.placed).created_at, (page.placed).order_id)) AS has_more
  FROM page ORDER BY position`;
