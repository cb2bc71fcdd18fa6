import { Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ClientId } from '../http/client-id.pipe.js';
import { ApiClientId, ApiProblems } from '../http/openapi.decorators.js';
import { DeadLettersService, MAX_LISTED } from './dead-letters.service.js';
import { DeadLetterList } from './dto/dead-letter-list.resource.js';
import { Redelivery } from './dto/redelivery.resource.js';

@ApiTags('dead letters')
@ApiBearerAuth()
@Controller('dead-letters')
export class DeadLettersController {
  constructor(private readonly deadLetters: DeadLettersService) {}

  @Get()
  @ApiOperation({
    summary: 'List the messages that could not be processed',
    description: `At most ${MAX_LISTED}, the latest first.`,
  })
  @ApiOkResponse({ type: DeadLetterList })
  @ApiProblems('unauthorized', 'database_unavailable')
  list(@CurrentAccount() accountId: string): Promise<DeadLetterList> {
    return this.deadLetters.list(accountId);
  }

  @Post(':consumer/:message_id/redeliver')
  @HttpCode(200)
  @ApiClientId('consumer', 'orders')
  @ApiClientId('message_id', 'charge.succeeded.ch_019ab9f2c0de7a3c8f21d5b6e7a8c9d0')
  @ApiOperation({
    summary: 'Redeliver a dead letter',
    description:
      'Delivers the message to the consumer that failed to process it. Idempotent without a key, because the message takes effect once. After it is processed, it is no longer a dead letter, so a retry gets 404.',
  })
  @ApiOkResponse({ type: Redelivery })
  @ApiProblems('validation_failed', 'unauthorized', 'not_found', 'database_unavailable', 'internal_error')
  redeliver(
    @CurrentAccount() accountId: string,
    @Param('consumer', ClientId) consumer: string,
    @Param('message_id', ClientId) messageId: string,
  ): Promise<Redelivery> {
    return this.deadLetters.redeliver(accountId, consumer, messageId);
  }
}
