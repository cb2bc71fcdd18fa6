import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { PAGE_BYTES } from '../http/page.input.js';
import { Problem } from '../http/problem.js';
import { Charge } from './charge.entity.js';
import { type DisputeStatus, lastDispute } from './disputes.js';
import type { ListCharges } from './dto/list-charges.dto.js';
import { type ChargeList, type ChargeResource, toResource } from './dto/charge.resource.js';
import { amountRefunded } from './refunds/refundable.js';

/** Reads the charges of one account. */
@Injectable()
export class ChargesReader {
  constructor(@InjectRepository(Charge) private readonly charges: Repository<Charge>) {}

  /** @throws Problem 404 `not_found`, also for a charge of another account */
  async find(accountId: string, id: string): Promise<ChargeResource> {
    const [charge] = await this.charges.query<ReadRow[]>(FIND, [accountId, id]);
    if (!charge) throw new Problem('not_found', 'There is no charge with this id.');
    return toResource(charge, charge.amount_refunded, charge.dispute);
  }

  /**
   * Returns a page of charges, newest first. Ids sort by age, so the id of the last charge is the cursor. An id contains the time of the
   * replica that opened the charge, so charges of two replicas are in order only as far as their clocks agree.
   *
   * The page has at most `limit` charges. It ends earlier with the charge that brings it to {@link PAGE_BYTES}.
   */
  async list(accountId: string, { limit, starting_after }: ListCharges): Promise<ChargeList> {
    const page = await this.charges.query<PageRow[]>(PAGE, [accountId, starting_after ?? null, limit, PAGE_BYTES]);
    return {
      object: 'list',
      data: page.map((charge) => toResource(charge, charge.amount_refunded, charge.dispute)),
      has_more: page.at(-1)?.has_more ?? false,
    };
  }
}

type ReadRow = Charge & { amount_refunded: number; dispute: DisputeStatus | null };
type PageRow = ReadRow & { has_more: boolean };

// $1 account, $2 the id of the charge
const FIND = `
  SELECT charge.*, ${amountRefunded('charge')} AS amount_refunded,
    ${lastDispute('charge')} AS dispute FROM charges AS charge WHERE account_id = $1 AND id = $2`;

// $1 account, $2 the id of the last charge of the previous page, $3 limit, $4 bytes. The recursion reads one charge after another and stops
// at $4, because a LIMIT alone would also read large charges that do not fit on the page.
const PAGE = `
  WITH RECURSIVE page (charge, position, bytes) AS (
    (SELECT newest, 1, octet_length(newest::text) FROM charges AS newest
     WHERE account_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT 1)
    UNION ALL
    SELECT next.charge, position + 1, bytes + octet_length(next.charge::text) FROM page, LATERAL (
      SELECT older AS charge FROM charges AS older
      WHERE account_id = $1 AND id < (page.charge).id ORDER BY id DESC LIMIT 1) AS next
    WHERE position < $3 AND bytes < $4
  )
  SELECT (charge).*, ${amountRefunded('(charge)')} AS amount_refunded,
    ${lastDispute('(charge)')} AS dispute,
    EXISTS (SELECT FROM charges WHERE account_id = $1 AND id < (page.charge).id) AS has_more
  FROM page ORDER BY position`;
