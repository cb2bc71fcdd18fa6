import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { Recovery } from '../../idempotency/index.js';
import { Charge } from '../charge.entity.js';
import { RESOLVED_AS_FAILED, ResolutionRefused } from '../charge-resolution.js';
import { requestIdOf } from '../charges.phases.js';
import { PaymentGateway, type RefundDecision } from '../gateway/payment.gateway.js';
import type { Refund } from './refund.entity.js';
import { CREATE_REFUND, settlementOf } from './refunds.phases.js';

/** The decision of the bank about a refund, as a person has found it out. */
export type RefundResolutionName = 'refunded' | 'failed';

/** Lets a person decide refunds that the service cannot decide, as `ChargeResolution` does for charges. */
@Injectable()
export class RefundResolution {
  constructor(
    private readonly gateway: PaymentGateway,
    private readonly recovery: Recovery,
    @InjectRepository(Charge) private readonly charges: Repository<Charge>,
  ) {}

  /** The oldest pending refunds whose keys at the gateway may have expired, at most 100. */
  unresolved(): Promise<Refund[]> {
    return this.find(null);
  }

  /**
   * Settles a refund under a new lock token, so that an attempt that still looks for the decision cannot settle the refund as well.
   *
   * The invariant: a refund is resolved only after this service has stopped asking the gateway to pay it, because a later payment would
   * contradict the resolution.
   *
   * @throws ResolutionRefused if the refund can still be decided without a person, or if the gateway contradicts
   */
  async resolve(id: string, resolution: RefundResolutionName): Promise<void> {
    const refused = new ResolutionRefused(
      `${id}: expected a pending refund whose key at the gateway may have expired; npm run charges:resolve lists them`,
    );
    const [refund] = await this.find(id);
    if (!refund) throw refused;
    const charge = await this.charges.findOneByOrFail({ account_id: refund.account_id, id: refund.charge_id });
    const decision: RefundDecision =
      resolution === 'refunded'
        ? { status: 'succeeded' }
        : { status: 'failed', failureCode: RESOLVED_AS_FAILED, isGivenUp: false };
    const found = await this.gateway.lookRefund(refund, charge);
    if (found && found.status !== decision.status) {
      throw new ResolutionRefused(
        `${id}: the gateway knows this refund as ${found.status}, and recovery settles it so`,
      );
    }
    const name = { accountId: refund.account_id, requestId: requestIdOf(refund.id) };
    const isSettled = await this.recovery.finishOne(CREATE_REFUND, name, ({ request }) =>
      request.complete(settlementOf(decision), { refund, decision: found ?? decision }),
    );
    if (!isSettled) throw refused;
  }

  private find(id: string | null): Promise<Refund[]> {
    return this.charges.query<Refund[]>(UNRESOLVED, [CREATE_REFUND, this.gateway.limits.refundKeyLifeMs / 1000, id]);
  }
}

// $1 operation, $2 life of a key in s, $3 the id of one refund, or NULL. Few requests are unfinished, and an index has only them.
const UNRESOLVED = `
  SELECT refunds.* FROM processed_requests AS request
  JOIN refunds ON refunds.account_id = request.account_id AND refunds.id = 're_' || replace(request.request_id::text, '-', '')
  WHERE request.completed_at IS NULL AND request.operation = $1 AND refunds.status = 'pending'
    AND refunds.created_at <= clock_timestamp() - make_interval(secs => $2) AND ($3::text IS NULL OR refunds.id = $3)
  ORDER BY refunds.created_at LIMIT 100`;
