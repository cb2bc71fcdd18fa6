import { ApiProperty } from '@nestjs/swagger';
import type { Refund } from '../refund.entity.js';

/** A refund that has succeeded, as clients see it. */
export class RefundResource {
  @ApiProperty({ example: 're_019ab9f2c0de7a3c8f21d5b6e7a8c9d1' })
  id!: string;

  @ApiProperty({ enum: ['refund'] })
  object!: 'refund';

  @ApiProperty({ example: 'ch_019ab9f2c0de7a3c8f21d5b6e7a8c9d0' })
  charge_id!: string;

  @ApiProperty({ type: 'integer', example: 500, description: 'In minor units of the currency, such as cents' })
  amount!: number;

  @ApiProperty({ example: 'eur' })
  currency!: string;

  @ApiProperty({ enum: ['succeeded'] })
  status!: 'succeeded';

  @ApiProperty({ type: String, nullable: true, example: 'One cup arrived broken' })
  reason!: string | null;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;
}

export function toResource(refund: Refund): RefundResource {
  return {
    id: refund.id,
    object: 'refund',
    charge_id: refund.charge_id,
    amount: refund.amount,
    currency: refund.currency,
    status: 'succeeded',
    reason: refund.reason,
    created_at: refund.created_at.toISOString(),
  };
}
