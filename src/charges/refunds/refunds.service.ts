import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import {
  type AbandonedRequest,
  type IdempotentRequest,
  INTENT_MISSING,
  type RecordedReply,
  type Resumed,
} from '../../idempotency/index.js';
import { Charge } from '../charge.entity.js';
import { PaymentGateway } from '../gateway/payment.gateway.js';
import {
  findOpenRefunds,
  type NewRefund,
  openRefund,
  type OpenRefund,
  recordRefusal,
  refundId,
  settlementOf,
} from './refunds.phases.js';
import { chargePending } from './refunds.problems.js';

/**
 * Refunds a charge exactly once: two commits around a call that cannot be rolled back, as `ChargesService` has them.
 *
 * A refusal takes two commits as well: the first one decides, and the second one records the reply. After a crash between the two, neither
 * a refund nor a reply exists, so recovery deletes the key, and the next attempt decides again.
 */
@Injectable()
export class RefundsService {
  constructor(
    private readonly gateway: PaymentGateway,
    @InjectRepository(Charge) private readonly charges: Repository<Charge>,
  ) {}

  /** Serves a first request or a client's retry. */
  async create(request: IdempotentRequest, accountId: string, input: NewRefund): Promise<RecordedReply> {
    await this.expectSettled(accountId, input.chargeId);
    const startedAt = performance.now();
    const opened = await request.claim(openRefund, input); // commit 1: the key and a pending refund, or only the key
    if (opened.kind === 'refused') return request.complete(recordRefusal, opened.reply);
    return this.refundAndSettle(request, opened, startedAt);
  }

  /** Finishes the request after its process has crashed, frozen or failed. No client is waiting for the reply. */
  async resume({ request, accountId, requestId }: AbandonedRequest): Promise<Resumed> {
    const startedAt = performance.now();
    const [refund] = await findOpenRefunds(this.charges, [{ account_id: accountId, id: refundId(requestId) }]);
    if (!refund) return INTENT_MISSING;
    const charge = await this.charges.findOneByOrFail({ account_id: accountId, id: refund.charge_id });
    return this.refundAndSettle(request, { refund, charge }, startedAt);
  }

  /** @param startedAt a time before the age of the refund was read, in milliseconds of `performance.now()` */
  private async refundAndSettle(
    request: IdempotentRequest,
    { refund, charge }: { refund: OpenRefund; charge: Charge },
    startedAt: number,
  ): Promise<RecordedReply> {
    const decision = await this.gateway.refund(refund, charge, startedAt - refund.age_ms); // no transaction is open
    return request.complete(settlementOf(decision), { refund, decision }); // commit 2: the result, the event and the reply
  }

  /**
   * Refuses the refund of a pending charge before the key is claimed, because the charge may still succeed: the same key can be used then.
   *
   * @throws Problem 409 `charge_pending`, or 503 `gateway_unavailable` if another gateway took the money
   */
  private async expectSettled(accountId: string, chargeId: string): Promise<void> {
    const charge = await this.charges.findOneBy({ account_id: accountId, id: chargeId });
    if (charge?.status === 'pending') throw chargePending();
    if (charge) this.gateway.expectOwn(charge);
  }
}
