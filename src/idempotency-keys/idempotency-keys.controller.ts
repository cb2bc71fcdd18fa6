import { Controller, Get, Param } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { ApiKeyParameter, ApiProblems } from '../http/openapi.decorators.js';
import { Problem } from '../http/problem.js';
import { IdempotencyStore, parseIdempotencyKey } from '../idempotency/index.js';
import { CurrentAccount } from '../accounts/account.decorator.js';

class IdempotencyKeyResource {
  @ApiProperty({ example: 'order_12345' })
  idempotency_key!: string;

  @ApiProperty({ enum: ['in_progress', 'completed'] })
  status!: string;

  @ApiProperty({ example: 'POST /charges', description: 'Method and route of the request the key stands for' })
  operation!: string;

  @ApiProperty({ format: 'date-time' })
  created_at!: string;

  @ApiProperty({ format: 'date-time', description: 'From then on the key is new again, once its request is completed' })
  expires_at!: string;
}

/** What became of a key: for a client that lost everything but the key. */
@ApiTags('idempotency keys')
@ApiBearerAuth()
@Controller('idempotency-keys')
export class IdempotencyKeysController {
  constructor(private readonly keys: IdempotencyStore) {}

  @Get(':key')
  @ApiOperation({ summary: 'Look up one of your own keys' })
  @ApiKeyParameter('key')
  @ApiOkResponse({ type: IdempotencyKeyResource })
  @ApiProblems('idempotency_key_invalid', 'unauthorized', 'not_found', 'database_unavailable')
  async find(@CurrentAccount() accountId: string, @Param('key') value: string): Promise<IdempotencyKeyResource> {
    const key = parseIdempotencyKey(value);
    const found = await this.keys.find(accountId, key);
    if (!found)
      throw new Problem('not_found', 'No request with this idempotency key is on record; it may have expired.');
    return {
      idempotency_key: key,
      status: found.status,
      operation: found.operation,
      created_at: found.createdAt.toISOString(),
      expires_at: found.expiresAt.toISOString(),
    };
  }
}
