import { Body, ConflictException, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { DataSource, MoreThanOrEqual, Repository } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { DEMO_ACCOUNT } from '../../src/accounts/api-keys.js';
import { Charge } from '../../src/charges/charge.entity.js';
import { CreateCharge } from '../../src/charges/dto/create-charge.dto.js';
import { type ChargeResource, toResource } from '../../src/charges/dto/charge.resource.js';
import { PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import { SimulatedBank } from '../../src/charges/gateway/simulated-bank.js';
import { InventoryItem } from '../../src/inventory/inventory-item.entity.js';
import { Order } from '../../src/orders/order.entity.js';
import { PlaceOrder } from '../../src/orders/dto/place-order.dto.js';
import { type OrderResource, toResource as toOrderResource } from '../../src/orders/dto/order.resource.js';
import { newOrderOf } from '../../src/orders/new-order.js';
import { applyEarlierPayments } from '../../src/orders/order-payments.js';
import { appendMessage, pendingCharge, settlement } from './charge-rows.js';
import { serveWithin } from './comparator.js';

/** The same endpoint without idempotency. It writes the charge before and after the call of the bank, but it does not write a key. */
@Controller('without-idempotency/charges')
class ChargesController {
  constructor(
    @InjectRepository(Charge) private readonly charges: Repository<Charge>,
    private readonly dataSource: DataSource,
    private readonly gateway: PaymentGateway,
  ) {}

  @Post()
  @HttpCode(200)
  async create(@Body() input: CreateCharge): Promise<ChargeResource> {
    const charge = pendingCharge(uuidv7(), input);
    await this.charges.insert(charge);
    const outcome = await this.gateway.authorize(charge, performance.now());
    return this.dataSource.transaction(async (tx) => {
      const settled = settlement(outcome);
      await tx.update(Charge, { account_id: charge.account_id, id: charge.id }, settled);
      await appendMessage(tx, charge);
      return toResource({ ...charge, ...settled }, 0);
    });
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
  imports: [TypeOrmModule.forFeature([Charge])],
  controllers: [ChargesController, OrdersController],
  providers: [{ provide: PaymentGateway, useClass: SimulatedBank }],
})
class WithoutIdempotency {}

await serveWithin(WithoutIdempotency, 'without-idempotency');
