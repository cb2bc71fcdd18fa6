import { ApiProperty } from '@nestjs/swagger';
import { OrderResource } from './order.resource.js';

/** A page of orders. */
export class OrderList {
  @ApiProperty({ enum: ['list'] })
  object!: 'list';

  @ApiProperty({ type: [OrderResource] })
  data!: OrderResource[];

  @ApiProperty({
    description: 'Whether older orders exist. To get them, send the last order_id of this page as starting_after.',
  })
  has_more!: boolean;
}
