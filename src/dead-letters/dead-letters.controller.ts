import { Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ClientId } from '../http/client-id.pipe.js';
import { ApiClientId, ApiProblems } from '../http/openapi.decorators.js';
import { Problem } from '../http/problem.js';
import { type DeadLetter, DeadLetters } from '../messaging/dead-letters.js';

/** Dead letters shown at once. There should be none. */
const LIMIT = 100;

/** A message that a consumer has failed at too often. */
export class DeadLetterResource implements Omit<DeadLetter, 'created_at' | 'dead_at'> {
  @ApiProperty({ example: 'orders' })
  consumer!: string;

  @ApiProperty({ example: 'charge.succeeded.ch_019ab9f2c0de7a3c8f21d5b6e7a8c9d0' })
  message_id!: string;

  @ApiProperty({ example: 'charge.succeeded' })
  type!: string;

  @ApiProperty({ type: 'object', additionalProperties: true, description: 'What the message tells' })
  data!: unknown;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({ type: 'integer', example: 5, description: 'Deliveries that the consumer has failed at' })
  attempts!: number;

  @ApiProperty({ description: 'What it failed with the last time' })
  last_error!: string;

  @ApiProperty({ format: 'date-time' })
  dead_at!: string;
}

export class DeadLetterList {
  @ApiProperty({ enum: ['list'] })
  object!: 'list';

  @ApiProperty({ type: [DeadLetterResource] })
  data!: DeadLetterResource[];
}

export class Redelivery {
  @ApiProperty({ enum: ['processed', 'dead'], description: 'Processed, or failed again and as dead as before' })
  delivery!: string;
}

@ApiTags('dead letters')
@ApiBearerAuth()
@Controller('dead-letters')
export class DeadLettersController {
  constructor(private readonly deadLetters: DeadLetters) {}

  @Get()
  @ApiOperation({ summary: 'List the messages that could not be processed', description: `The latest ${LIMIT}.` })
  @ApiOkResponse({ type: DeadLetterList })
  @ApiProblems('unauthorized', 'database_unavailable')
  async list(@CurrentAccount() accountId: string): Promise<{ object: 'list'; data: DeadLetter[] }> {
    return { object: 'list', data: await this.deadLetters.list(accountId, LIMIT) };
  }

  @Post(':consumer/:message_id/redeliver')
  @HttpCode(200)
  @ApiClientId('consumer', 'orders')
  @ApiClientId('message_id', 'charge.succeeded.ch_019ab9f2c0de7a3c8f21d5b6e7a8c9d0')
  @ApiOperation({
    summary: 'Deliver a dead letter once more',
    description:
      'To the consumer that failed at it. Idempotent by the inbox: however often it is sent, the message takes effect once; once it is processed it is no dead letter any more, and this is 404.',
  })
  @ApiOkResponse({ type: Redelivery })
  @ApiProblems('validation_failed', 'unauthorized', 'not_found', 'database_unavailable', 'internal_error')
  async redeliver(
    @CurrentAccount() accountId: string,
    @Param('consumer', ClientId) consumer: string,
    @Param('message_id', ClientId) messageId: string,
  ): Promise<Redelivery> {
    const delivery = await this.deadLetters.redeliver(accountId, consumer, messageId);
    if (!delivery) throw new Problem('not_found', 'There is no such dead letter.');
    return { delivery };
  }
}
