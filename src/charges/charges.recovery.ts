import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { type AbandonedRequest, INTENT_MISSING, Recovery, type Resumed } from '../idempotency/index.js';
import { Charge } from './charge.entity.js';
import { chargeId, settle } from './charges.phases.js';
import { PaymentGateway } from './gateway/payment.gateway.js';

/** Finishes charges whose process or gateway failed between the two commits. No client is needed. */
@Injectable()
export class ChargeRecovery {
  constructor(
    recovery: Recovery,
    @InjectRepository(Charge) private readonly charges: Repository<Charge>,
    private readonly gateway: PaymentGateway,
  ) {
    recovery.register('POST /charges', (abandoned) => this.resume(abandoned));
  }

  private async resume({ accountId, requestId, request }: AbandonedRequest): Promise<Resumed> {
    const charge = await this.charges.findOneBy({ account_id: accountId, id: chargeId(requestId) });
    // The bank is asked only for a charge that is committed, and the charge is committed with the key.
    if (!charge) return INTENT_MISSING;
    const outcome = await this.gateway.authorize(charge);
    return request.complete(settle, { charge, outcome });
  }
}
