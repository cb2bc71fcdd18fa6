import { ApiProperty } from '@nestjs/swagger';
import type { Order } from '../order.entity.js';
import { OrderLineInput } from './order-line.dto.js';

/** An order in the form that clients receive. */
export class OrderResource {
  @ApiProperty({ example: 'docs_order_1' })
  order_id!: string;

  @ApiProperty({ enum: ['order'] })
  object!: 'order';

  @ApiProperty({
    enum: ['placed', 'paid'],
    description: 'An order is paid when the charges that name it cover its amount',
  })
  status!: string;

  @ApiProperty({
    type: 'integer',
    example: 2500,
    description: 'Total price of the items, in minor units of the currency',
  })
  amount!: number;

  @ApiProperty({ example: 'eur' })
  currency!: string;

  @ApiProperty({ type: String, nullable: true, example: 'cus_ada' })
  customer_id!: string | null;

  @ApiProperty({ type: [OrderLineInput] })
  items!: OrderLineInput[];

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({ type: String, format: 'date-time', nullable: true, example: null })
  paid_at!: string | null;
}

export function toResource(order: Order): OrderResource {
  return {
    order_id: order.order_id,
    object: 'order',
    status: order.status,
    amount: order.amount,
    currency: order.currency,
    customer_id: order.customer_id,
    items: order.items,
    created_at: order.created_at.toISOString(),
    paid_at: order.paid_at?.toISOString() ?? null,
  };
}
