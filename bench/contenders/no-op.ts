import { Body, Controller, HttpCode, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { v7 as uuidv7 } from 'uuid';
import { CreateCharge } from '../../src/charges/dto/create-charge.dto.js';
import { type ChargeResource, toResource } from '../../src/charges/dto/charge.resource.js';
import { InputValidationPipe } from '../../src/http/validation.pipe.js';
import { pendingCharge } from './charge-rows.js';
import { ready } from '../worker.js';

const RESOURCE = toResource(pendingCharge(uuidv7(), { amount: 1999, currency: 'eur' }), 0);

/**
 * Measures the upper bound of the framework. This controller reads and validates the same body as the service, sends the same resource, and
 * does nothing else.
 */
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

// The application has only Nest on Fastify and the validation, because it measures the upper bound. It has no guards, no search for card
// numbers, no log and no metrics.
const nest = await NestFactory.create<NestFastifyApplication>(NoOp, new FastifyAdapter({ skipMiddie: true }), {
  logger: ['error'],
  abortOnError: false,
});
nest.useGlobalPipes(new InputValidationPipe());
await nest.listen(0, '127.0.0.1');
ready(await nest.getUrl());
