import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ApiProblems } from '../http/openapi.decorators.js';
import type { ProblemCode } from '../http/problem.js';
import { Idempotent, type IdempotentRequest, IdempotencyContext, type RecordedReply } from '../idempotency/index.js';
import { CreateCharge } from './dto/create-charge.dto.js';
import { ListCharges } from './dto/list-charges.dto.js';
import { ChargeList, ChargeResource } from './dto/charge.resource.js';
import { ApiChargeId } from './charges.openapi.js';
import { ChargesReader } from './charges.reader.js';
import { ChargesService } from './charges.service.js';

const CREATE_PROBLEMS: ProblemCode[] = [
  'validation_failed',
  'malformed_json',
  'card_data_refused',
  'unauthorized',
  'card_declined',
  'body_too_large',
  'unsupported_media_type',
  'gateway_unavailable',
  'gateway_timeout',
  'charge_undecided',
  'internal_error',
];

@ApiTags('charges')
@ApiBearerAuth()
@Controller('charges')
export class ChargesController {
  constructor(
    private readonly charges: ChargesService,
    private readonly reader: ChargesReader,
  ) {}

  @Post()
  @HttpCode(200)
  @Idempotent({ resumedBy: [ChargesService, 'resume'] })
  @ApiProblems(...CREATE_PROBLEMS)
  @ApiOperation({
    summary: 'Charge a card, once',
    description:
      'Idempotent by Idempotency-Key. A retry with the same key and body creates no second charge: it gets the same status and the same bytes, with Idempotent-Replayed: true.',
  })
  @ApiOkResponse({
    type: ChargeResource,
    description: 'The charge. A replay has the same body',
    headers: {
      'Idempotent-Replayed': {
        description: 'true on a replay, absent on the first reply',
        schema: { type: 'string', enum: ['true'] },
      },
      'Idempotency-Key-Expires': {
        description: 'When the key expires, as an HTTP date: the same time on the first reply and on every replay',
        schema: { type: 'string', example: 'Mon, 30 Nov 2026 12:00:00 GMT' },
      },
    },
  })
  create(@Body() input: CreateCharge, @IdempotencyContext() request: IdempotentRequest): Promise<RecordedReply> {
    return this.charges.create(request, input);
  }

  @Get(':id')
  @ApiChargeId()
  @ApiOperation({ summary: 'Read a charge' })
  @ApiOkResponse({ type: ChargeResource })
  @ApiProblems('validation_failed', 'card_data_refused', 'unauthorized', 'not_found', 'database_unavailable')
  find(@CurrentAccount() accountId: string, @Param('id') id: string): Promise<ChargeResource> {
    return this.reader.find(accountId, id);
  }

  @Get()
  @ApiOperation({ summary: 'List your charges, newest first' })
  @ApiOkResponse({ type: ChargeList })
  @ApiProblems('validation_failed', 'card_data_refused', 'unauthorized', 'database_unavailable')
  list(@CurrentAccount() accountId: string, @Query() query: ListCharges): Promise<ChargeList> {
    return this.reader.list(accountId, query);
  }
}
