import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { Repository } from 'typeorm';
import {
  type AbandonedRequest,
  type IdempotentRequest,
  INTENT_MISSING,
  type RecordedReply,
  type Resumed,
} from '../idempotency/index.js';
import { Charge } from './charge.entity.js';
import { chargeId, findOpenCharge, openCharge, type OpenCharge, settleCharge } from './charges.phases.js';
import type { CreateCharge } from './dto/create-charge.dto.js';
import { PaymentGateway } from './gateway/payment.gateway.js';

/**
 * Charges a card exactly once: two commits around a call that cannot be rolled back.
 *
 * It may not look like it, but a crash at any line is safe. Before commit 1 nothing has happened. Between the commits the charge is stored as
 * pending, and the next attempt asks the bank again with the same key. After commit 2 every attempt gets the recorded reply.
 */
@Injectable()
export class ChargesService {
  constructor(
    private readonly gateway: PaymentGateway,
    @InjectRepository(Charge) private readonly charges: Repository<Charge>,
  ) {}

  /**
   * Serves a first request or a client's retry. If the key has a reply already, `claim` throws that reply to the interceptor, and the lines
   * behind `claim` do not run.
   */
  async create(request: IdempotentRequest, input: CreateCharge): Promise<RecordedReply> {
    const startedAt = performance.now();
    const opened = { ...input, gateway: this.gateway.name };
    const charge = await request.claim(openCharge, opened); // commit 1: the key and a pending charge
    return this.authorizeAndSettle(request, charge, startedAt);
  }

  /** Finishes the request after its process has crashed, frozen or failed. No client is waiting for the reply. */
  async resume({ request, accountId, requestId }: AbandonedRequest): Promise<Resumed> {
    const startedAt = performance.now();
    const charge = await findOpenCharge(this.charges, { account_id: accountId, id: chargeId(requestId) });
    return charge ? this.authorizeAndSettle(request, charge, startedAt) : INTENT_MISSING;
  }

  /** @param startedAt a time before the age of the charge was read, in milliseconds of `performance.now()` */
  private async authorizeAndSettle(
    request: IdempotentRequest,
    charge: OpenCharge,
    startedAt: number,
  ): Promise<RecordedReply> {
    const authorization = await this.gateway.authorize(charge, startedAt - charge.age_ms); // no transaction is open
    return request.complete(settleCharge, { charge, authorization }); // commit 2: the result, the event and the reply
  }
}
