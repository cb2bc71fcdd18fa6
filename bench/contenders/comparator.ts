import type { Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { InputValidationPipe } from '../../src/http/validation.pipe.js';
import { ready } from '../worker.js';

/**
 * Serves a Nest module on Fastify with the validation of the service and nothing else around it: no guard, no look for
 * card numbers, no log, no metrics. The service has all of that, so comparisons favour the comparator.
 */
export async function serve(module: Type): Promise<void> {
  const nest = await NestFactory.create<NestFastifyApplication>(module, new FastifyAdapter({ skipMiddie: true }), {
    logger: ['error'],
    abortOnError: false,
  });
  nest.useGlobalPipes(new InputValidationPipe());
  await nest.listen(0, '127.0.0.1');
  ready(await nest.getUrl());
}
