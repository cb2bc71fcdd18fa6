import { Body, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { CreateCharge } from '../../src/charges/charge.input.js';
import { type ChargeResource, toResource } from '../../src/charges/charge.resource.js';
import { newRequestId } from '../../src/idempotency/request-id.js';
import { pendingCharge } from './charge-rows.js';
import { serve } from './comparator.js';

const RESOURCE = toResource(pendingCharge(newRequestId(), { amount: 1999, currency: 'eur' }));

/** The framework's ceiling: the same body is read and validated, the same resource is sent, and nothing is done. */
@Controller('charges')
class ChargesController {
  @Post()
  @HttpCode(200)
  create(@Body() _input: CreateCharge): ChargeResource {
    return RESOURCE;
  }
}

@Module({ controllers: [ChargesController] })
class NoOp {}

await serve(NoOp);
