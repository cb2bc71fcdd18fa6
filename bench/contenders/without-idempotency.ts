import { Body, ConflictException, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { DataSource, MoreThanOrEqual } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { DEMO_ACCOUNT } from '../../src/accounts/api-keys.js';
import { CreateCharge } from '../../src/charges/dto/create-charge.dto.js';
import type { ChargeResource } from '../../src/charges/dto/charge.resource.js';
import { InventoryItem } from '../../src/inventory/inventory-item.entity.js';
import { Order } from '../../src/orders/order.entity.js';
import { PlaceOrder } from '../../src/orders/dto/place-order.dto.js';
import { type OrderResource, toResource as toOrderResource } from '../../src/orders/dto/order.resource.js';
import { newOrderOf } from '../../src/orders/new-order.js';
import { applyEarlierPayments } from '../../src/orders/order-payments.js';
import { serveWithin } from './comparator.js';
import { UNPROTECTED_CHARGES, UnprotectedCharges } from './unprotected-charges.js';

/** The same endpoint without idempotency. */
@Controller('without-idempotency/charges')
class ChargesController {
  constructor(private readonly charges: UnprotectedCharges) {}

  @Post()
  @HttpCode(200)
  create(@Body() input: CreateCharge): Promise<ChargeResource> {
    return this.charges.create(input);
  }
}

/** Orders without a natural key, so every request places a new order. */
@Controller('without-idempotency/orders')
class OrdersController {
  constructor(private readonly dataSource: DataSource) {}

  @Post()
  @HttpCode(200)
  create(@Body() input: PlaceOrder): Promise<OrderResource> {
    return this.dataSource.transaction(async (tx) => {
      const order = tx.create(Order, {
        ...newOrderOf({ accountId: DEMO_ACCOUNT, input: { ...input, order_id: uuidv7() } }),
        status: 'placed',
        created_at: new Date(),
        paid_at: null,
      });
      await tx.insert(Order, order);
      for (const { item_id, quantity } of order.items) {
        const taken = await tx
          .createQueryBuilder()
          .update(InventoryItem)
          .set({ stock: () => 'stock - :quantity' })
          .where({ account_id: DEMO_ACCOUNT, item_id, stock: MoreThanOrEqual(quantity) })
          .setParameters({ quantity })
          .execute();
        if (taken.affected !== 1) throw new ConflictException();
      }
      await applyEarlierPayments(tx, [order]);
      return toOrderResource(order);
    });
  }
}

@Module({
  ...UNPROTECTED_CHARGES,
  controllers: [ChargesController, OrdersController],
})
class WithoutIdempotency {}

await serveWithin(WithoutIdempotency, 'without-idempotency');
