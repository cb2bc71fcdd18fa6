import { ApiProperty } from '@nestjs/swagger';

/** The answer to an event. Stripe reads only the status. */
export class EventReceipt {
  @ApiProperty({ enum: [true] })
  received!: true;
}
