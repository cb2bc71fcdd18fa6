import { ApiProperty } from '@nestjs/swagger';
import type { DeadLetter } from '../../messaging/index.js';

/** A dead letter in the form that clients receive: a message that a consumer has failed to process too often. */
export class DeadLetterResource {
  @ApiProperty({ example: 'orders' })
  consumer!: string;

  @ApiProperty({ example: 'charge.succeeded.ch_019ab9f2c0de7a3c8f21d5b6e7a8c9d0' })
  message_id!: string;

  @ApiProperty({ example: 'charge.succeeded' })
  type!: string;

  @ApiProperty({ type: 'object', additionalProperties: true, description: 'Content of the message' })
  data!: unknown;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({ type: 'integer', example: 5, description: 'Number of deliveries that failed' })
  attempts!: number;

  @ApiProperty({ description: 'Error of the last failed delivery' })
  last_error!: string;

  @ApiProperty({ format: 'date-time' })
  dead_at!: string;
}

export const toResource = (letter: DeadLetter): DeadLetterResource => ({
  ...letter,
  created_at: letter.created_at.toISOString(),
  dead_at: letter.dead_at.toISOString(),
});
