import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { Repository } from 'typeorm';
import { Recovery } from '../idempotency/index.js';
import { Charge } from './charge.entity.js';
import { CREATE_CHARGE, findOpenCharge, requestIdOf, settleCharge } from './charges.phases.js';
import { type Authorization, PaymentGateway } from './gateway/payment.gateway.js';

/** The decision of the bank, as a person has found it out. */
export type Resolution = 'captured' | 'failed';

/** The decline code of a charge, or the failure code of a refund, that a person has resolved as failed. */
export const RESOLVED_AS_FAILED = 'resolved_as_failed';

/** The charge cannot be resolved like this. The message says why. */
export class ResolutionRefused extends Error {}

/**
 * Lets a person decide charges that the service cannot decide: the gateway may have forgotten the key, so it must not be asked again, and the
 * gateway does not know the charge.
 */
@Injectable()
export class ChargeResolution {
  constructor(
    private readonly gateway: PaymentGateway,
    private readonly recovery: Recovery,
    @InjectRepository(Charge) private readonly charges: Repository<Charge>,
  ) {}

  /** The oldest pending charges whose keys at the gateway may have expired, at most 100. */
  unresolved(): Promise<Charge[]> {
    return this.find(null);
  }

  /**
   * Settles a charge under a new lock token, so that an attempt that still looks for the decision cannot settle the charge as well.
   *
   * The invariant: a charge is resolved only when this service asks for no more money for it, because a later capture would contradict the
   * resolution.
   *
   * @throws ResolutionRefused if the charge can still be decided without a person, or if the gateway contradicts
   */
  async resolve(id: string, resolution: Resolution): Promise<void> {
    const [charge] = await this.find(id);
    if (!charge) throw new ResolutionRefused(await this.reasonAgainst(id));
    const authorization: Authorization =
      resolution === 'captured' ? { status: 'succeeded' } : { status: 'failed', declineCode: RESOLVED_AS_FAILED };
    const found = await this.gateway.look(charge);
    if (found && found.status !== authorization.status) {
      throw new ResolutionRefused(
        `${id}: the gateway knows this charge as ${found.status}, and recovery settles it so`,
      );
    }
    const name = { accountId: charge.account_id, requestId: requestIdOf(charge.id) };
    const isSettled = await this.recovery.finishOne(CREATE_CHARGE, name, ({ request }) =>
      request.complete(settleCharge, { charge, authorization: found ?? authorization }),
    );
    if (!isSettled) throw new ResolutionRefused(await this.reasonAgainst(id));
  }

  private find(id: string | null): Promise<Charge[]> {
    const { chargeKeyLifeMs } = this.gateway.limits;
    if (chargeKeyLifeMs === Infinity) return Promise.resolve([]);
    return this.charges.query<Charge[]>(UNRESOLVED, [CREATE_CHARGE, chargeKeyLifeMs / 1000, id]);
  }

  private async reasonAgainst(id: string): Promise<string> {
    const charge = await this.charges.findOneBy({ id });
    if (!charge) return `${id}: there is no such charge`;
    if (charge.status !== 'pending') return `${id}: the charge is ${charge.status} already`;
    if (this.gateway.limits.chargeKeyLifeMs === Infinity) return `${id}: the service can always ask this gateway`;
    const open = await findOpenCharge(this.charges, charge);
    const seconds = Math.ceil((this.gateway.limits.chargeKeyLifeMs - (open?.age_ms ?? 0)) / 1000);
    return `${id}: the service can still ask the gateway for ${seconds} s, so no person has to decide yet`;
  }
}

// $1 operation, $2 life of a key in s, $3 the id of one charge, or NULL. Few requests are unfinished, and an index has only them.
const UNRESOLVED = `
  SELECT charges.* FROM processed_requests AS request
  JOIN charges ON charges.account_id = request.account_id AND charges.id = 'ch_' || replace(request.request_id::text, '-', '')
  WHERE request.completed_at IS NULL AND request.operation = $1 AND charges.status = 'pending'
    AND charges.created_at <= clock_timestamp() - make_interval(secs => $2) AND ($3::text IS NULL OR charges.id = $3)
  ORDER BY charges.created_at LIMIT 100`;
