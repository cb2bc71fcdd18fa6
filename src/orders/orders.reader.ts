import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { Problem, validationFailed } from '../http/problem.js';
import { Order } from './order.entity.js';
import type { ListOrders } from './order.input.js';
import { type OrderList, type OrderResource, toResource } from './order.resource.js';

/** Reads the orders of one account. */
@Injectable()
export class OrdersReader {
  constructor(@InjectRepository(Order) private readonly orders: Repository<Order>) {}

  /** @throws Problem 404 `not_found`, also for another account's order */
  async find(accountId: string, orderId: string): Promise<OrderResource> {
    const order = await this.orders.findOneBy({ account_id: accountId, order_id: orderId });
    if (!order) throw new Problem('not_found', 'There is no order with this order_id.');
    return toResource(order);
  }

  /**
   * A page, newest first. Times may be equal, so the order_id decides between those.
   *
   * @throws Problem 400 `validation_failed` if `starting_after` is not an order of this account: an empty page would say that
   * there are no older orders
   */
  async list(accountId: string, { limit, starting_after }: ListOrders): Promise<OrderList> {
    const page = this.orders
      .createQueryBuilder('o')
      .where('o.account_id = :accountId', { accountId })
      .orderBy('o.created_at', 'DESC')
      .addOrderBy('o.order_id', 'DESC')
      .limit(limit + 1);
    if (starting_after !== undefined) {
      page.andWhere(
        `(o.created_at, o.order_id) < (SELECT c.created_at, c.order_id FROM orders c
           WHERE c.account_id = :accountId AND c.order_id = :starting_after)`,
        { starting_after },
      );
    }
    const found = await page.getMany();
    if (found.length === 0 && starting_after !== undefined) {
      const isKnown = await this.orders.existsBy({ account_id: accountId, order_id: starting_after });
      if (!isKnown) throw validationFailed({ field: 'starting_after', message: 'expected the order_id of an order' });
    }
    return { object: 'list', data: found.slice(0, limit).map(toResource), has_more: found.length > limit };
  }
}
