import { Injectable } from '@nestjs/common';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { DataSource, Repository } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Charge } from '../../src/charges/charge.entity.js';
import type { CreateCharge } from '../../src/charges/dto/create-charge.dto.js';
import { type ChargeResource, toResource } from '../../src/charges/dto/charge.resource.js';
import { PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import { SimulatedBank } from '../../src/charges/gateway/simulated-bank.js';
import { appendMessage, pendingCharge, settlement } from './charge-rows.js';

/**
 * Makes a charge without idempotency: it writes the charge before and after the call of the bank, but it does not write a key. The peers wrap
 * this function, so that only the idempotency differs between them and `without idempotency`.
 */
@Injectable()
export class UnprotectedCharges {
  constructor(
    @InjectRepository(Charge) private readonly charges: Repository<Charge>,
    private readonly dataSource: DataSource,
    private readonly gateway: PaymentGateway,
  ) {}

  async create(input: CreateCharge): Promise<ChargeResource> {
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

/** The imports and providers of a module that uses {@link UnprotectedCharges}. */
export const UNPROTECTED_CHARGES = {
  imports: [TypeOrmModule.forFeature([Charge])],
  providers: [UnprotectedCharges, { provide: PaymentGateway, useClass: SimulatedBank }],
};
