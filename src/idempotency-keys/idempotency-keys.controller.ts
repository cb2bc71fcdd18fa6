import { Controller, Get, Param } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ApiKeyParameter, ApiProblems } from '../http/openapi.decorators.js';
import { exampleKeyOf } from '../http/openapi.operations.js';
import { IdempotencyKeyResource } from './dto/idempotency-key.resource.js';
import { IdempotencyKeysService } from './idempotency-keys.service.js';

@ApiTags('idempotency keys')
@ApiBearerAuth()
@Controller('idempotency-keys')
export class IdempotencyKeysController {
  constructor(private readonly keys: IdempotencyKeysService) {}

  @Get(':key')
  @ApiOperation({ summary: 'Read the state of one of your idempotency keys' })
  @ApiKeyParameter('key', exampleKeyOf('/charges'))
  @ApiOkResponse({ type: IdempotencyKeyResource })
  @ApiProblems('idempotency_key_invalid', 'unauthorized', 'not_found', 'database_unavailable')
  find(@CurrentAccount() accountId: string, @Param('key') key: string): Promise<IdempotencyKeyResource> {
    return this.keys.find(accountId, key);
  }
}
