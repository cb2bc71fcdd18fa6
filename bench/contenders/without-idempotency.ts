import { Body, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { DataSource, Repository } from 'typeorm';
import { Charge } from '../../src/charges/charge.entity.js';
import { CreateCharge } from '../../src/charges/charge.input.js';
import { type ChargeResource, toResource } from '../../src/charges/charge.resource.js';
import { PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import { SimulatedBank } from '../../src/charges/gateway/simulated-bank.js';
import { newRequestId } from '../../src/idempotency/request-id.js';
import { pendingCharge, settlement, tellOf } from './charge-rows.js';
import { serveWithin } from './comparator.js';

/** The same endpoint without idempotency: the charge is written before and after the bank is asked, and no key is. */
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
    const charge = pendingCharge(newRequestId(), input);
    await this.charges.insert(charge);
    const outcome = await this.gateway.authorize(charge);
    return this.dataSource.transaction(async (tx) => {
      const settled = settlement(outcome);
      await tx.update(Charge, { account_id: charge.account_id, id: charge.id }, settled);
      await tellOf(tx, charge);
      return toResource({ ...charge, ...settled });
    });
  }
}

@Module({
  imports: [TypeOrmModule.forFeature([Charge])],
  controllers: [ChargesController],
  providers: [{ provide: PaymentGateway, useClass: SimulatedBank }],
})
class WithoutIdempotency {}

await serveWithin(WithoutIdempotency, 'without-idempotency');
