import { ApiProperty } from '@nestjs/swagger';
import type { Charge } from '../charge.entity.js';
import { DISPUTE_STATUSES, type DisputeStatus } from '../disputes.js';

/** A charge as clients see it. */
export class ChargeResource {
  @ApiProperty({ example: 'ch_019ab9f2c0de7a3c8f21d5b6e7a8c9d0' })
  id!: string;

  @ApiProperty({ enum: ['charge'] })
  object!: 'charge';

  @ApiProperty({ type: 'integer', example: 1999, description: 'In minor units of the currency, such as cents' })
  amount!: number;

  @ApiProperty({ example: 'eur' })
  currency!: string;

  @ApiProperty({ enum: ['pending', 'succeeded', 'failed'], example: 'succeeded' })
  status!: string;

  @ApiProperty({
    type: 'integer',
    example: 0,
    description: 'The sum of the refunds that have succeeded, in minor units. The reply to `POST /charges` has 0',
  })
  amount_refunded!: number;

  @ApiProperty({ type: String, nullable: true, example: null, description: 'The reason for which the bank declined' })
  decline_code!: string | null;

  @ApiProperty({
    type: String,
    enum: [...DISPUTE_STATUSES, null],
    nullable: true,
    example: null,
    description:
      'The status of the last dispute of the charge. `closed` means that an inquiry ended without a dispute. The reply to `POST /charges` has null',
  })
  dispute!: DisputeStatus | null;

  @ApiProperty({ example: 'tok_visa' })
  source!: string;

  @ApiProperty({ type: String, nullable: true, example: 'docs_order_1' })
  order_id!: string | null;

  @ApiProperty({ type: String, nullable: true, example: 'Two coffees' })
  description!: string | null;

  @ApiProperty({ type: 'object', additionalProperties: { type: 'string' }, example: { cashier: 'ada' } })
  metadata!: Record<string, string>;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;
}

export class ChargeList {
  @ApiProperty({ enum: ['list'] })
  object!: 'list';

  @ApiProperty({ type: [ChargeResource] })
  data!: ChargeResource[];

  @ApiProperty({
    description: 'Whether there are older charges. To get them, send the last id of this page as starting_after',
  })
  has_more!: boolean;
}

/**
 * @param amountRefunded the sum of the refunds that have succeeded, in minor units
 * @param dispute the status of the last dispute, if there is one
 */
export function toResource(
  charge: Charge,
  amountRefunded: number,
  dispute: DisputeStatus | null = null,
): ChargeResource {
  return {
    id: charge.id,
    object: 'charge',
    amount: charge.amount,
    currency: charge.currency,
    status: charge.status,
    amount_refunded: amountRefunded,
    decline_code: charge.decline_code,
    dispute,
    source: charge.source,
    order_id: charge.order_id,
    description: charge.description,
    metadata: charge.metadata,
    created_at: charge.created_at.toISOString(),
  };
}
