import { Body, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { CreateCharge } from '../../src/charges/dto/create-charge.dto.js';
import { type ChargeResource, toResource } from '../../src/charges/dto/charge.resource.js';
import { InputValidationPipe } from '../../src/http/validation.pipe.js';
import { newRequestId } from '../../src/idempotency/request/request-id.js';
import { pendingCharge } from './charge-rows.js';
import { ready } from '../worker.js';

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

// Nest on Fastify and the validation, and nothing else of the service around it: no guard, no look for card numbers, no
// log, no metrics.
const nest = await NestFactory.create<NestFastifyApplication>(NoOp, new FastifyAdapter({ skipMiddie: true }), {
  logger: ['error'],
  abortOnError: false,
});
nest.useGlobalPipes(new InputValidationPipe());
await nest.listen(0, '127.0.0.1');
ready(await nest.getUrl());
