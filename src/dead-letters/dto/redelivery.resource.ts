import { ApiProperty } from '@nestjs/swagger';

/** The result of a redelivery. */
export class Redelivery {
  @ApiProperty({
    enum: ['processed', 'dead'],
    description:
      'processed: the message took effect. dead: the consumer failed again, and the message is still a dead letter.',
  })
  delivery!: string;
}
