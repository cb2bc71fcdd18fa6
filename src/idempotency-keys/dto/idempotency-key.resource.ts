import { ApiProperty } from '@nestjs/swagger';
import { exampleKeyOf } from '../../http/openapi.operations.js';

/** An idempotency key in the form that clients receive, without the reply. */
export class IdempotencyKeyResource {
  @ApiProperty({ example: exampleKeyOf('/charges') })
  idempotency_key!: string;

  @ApiProperty({ enum: ['in_progress', 'completed'] })
  status!: string;

  @ApiProperty({ example: 'POST /charges', description: 'Method and route of the request that used the key' })
  operation!: string;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({
    format: 'date-time',
    description: 'After this time the key is new again, if its request is completed',
  })
  expires_at!: string;
}
