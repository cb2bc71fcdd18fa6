import { Body, Controller, HttpCode, Param, Post } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentAccount } from '../../accounts/account.decorator.js';
import { ApiProblems } from '../../http/openapi.decorators.js';
import { Idempotent, type IdempotentRequest, IdempotencyContext, type RecordedReply } from '../../idempotency/index.js';
import { ApiChargeId } from '../charges.openapi.js';
import { CreateRefund } from './dto/create-refund.dto.js';
import { RefundResource } from './dto/refund.resource.js';
import { RefundsService } from './refunds.service.js';

@ApiTags('charges')
@ApiBearerAuth()
@Controller('charges/:id/refunds')
export class RefundsController {
  constructor(private readonly refunds: RefundsService) {}

  @Post()
  @HttpCode(200)
  @Idempotent({ resumedBy: [RefundsService, 'resume'] })
  @ApiChargeId()
  @ApiProblems(
    'validation_failed',
    'malformed_json',
    'card_data_refused',
    'unauthorized',
    'refund_failed',
    'not_found',
    'charge_pending',
    'refund_exceeds_charge',
    'body_too_large',
    'unsupported_media_type',
    'gateway_unavailable',
    'gateway_timeout',
    'refund_undecided',
    'internal_error',
  )
  @ApiOperation({
    summary: 'Refund a charge, or a part of it, once',
    description:
      'Idempotent by Idempotency-Key, as `POST /charges` is. A charge can have several refunds, whose sum never exceeds the charge. Send `{}` to refund all that is left.',
  })
  @ApiOkResponse({ type: RefundResource, description: 'The refund. A replay has the same body' })
  create(
    @CurrentAccount() accountId: string,
    @Param('id') chargeId: string,
    @Body() input: CreateRefund,
    @IdempotencyContext() request: IdempotentRequest,
  ): Promise<RecordedReply> {
    return this.refunds.create(request, accountId, { chargeId, ...input });
  }
}
