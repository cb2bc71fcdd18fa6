import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { LessThan, Repository } from 'typeorm';
import { Problem } from '../http/problem.js';
import { Charge } from './charge.entity.js';
import type { ListCharges } from './charge.input.js';
import { type ChargeList, type ChargeResource, toResource } from './charge.resource.js';

/** Reads the charges of one account. */
@Injectable()
export class ChargesReader {
  constructor(@InjectRepository(Charge) private readonly charges: Repository<Charge>) {}

  /** @throws Problem 404 `not_found`, also for another account's charge */
  async find(accountId: string, id: string): Promise<ChargeResource> {
    const charge = await this.charges.findOneBy({ account_id: accountId, id });
    if (!charge) throw new Problem('not_found', 'There is no charge with this id.');
    return toResource(charge);
  }

  /**
   * A page, newest first: ids sort by age, so the id of the last charge is the cursor. The age is by the clock of the replica
   * that opened the charge, so charges of two replicas are in order as far as the clocks agree.
   */
  async list(accountId: string, { limit, starting_after }: ListCharges): Promise<ChargeList> {
    const found = await this.charges.find({
      where: { account_id: accountId, ...(starting_after && { id: LessThan(starting_after) }) },
      order: { id: 'DESC' },
      take: limit + 1,
    });
    return { object: 'list', data: found.slice(0, limit).map(toResource), has_more: found.length > limit };
  }
}
