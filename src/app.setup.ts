import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import { ApiKeys } from './accounts/api-keys.js';
import { admitBodies } from './accounts/body-admission.js';
import type { Config } from './config.js';
import { answerOtherMethods, createFastifyAdapter } from './http/fastify.js';
import { serveDocs } from './http/openapi.js';
import { RequestsUnderWay } from './http/requests-under-way.js';
import { Drain } from './operations/drain.js';
import { createLogger, PinoLoggerService } from './operations/logger.js';
import { Metrics } from './operations/metrics.js';

export interface App {
  nest: NestFastifyApplication;
  drain: Drain;
}

/**
 * Builds the application, ready to listen.
 *
 * @param root the {@link AppModule}, or a module that imports it
 */
export async function createApp(config: Config, root: DynamicModule): Promise<App> {
  const logger = createLogger(config);
  const underWay = new RequestsUnderWay();
  const adapter = createFastifyAdapter(logger, underWay);
  const fastify = adapter.getInstance<FastifyInstance>();
  const addOtherMethods = answerOtherMethods(fastify);

  const nest = await NestFactory.create<NestFastifyApplication>(root, adapter, {
    bodyParser: false,
    // Nest logs each of its routes at `info` during the start. /docs lists them better.
    logger: new PinoLoggerService(logger.child({}, { level: LOUDER_THAN_INFO[config.LOG_LEVEL] ?? config.LOG_LEVEL })),
    // The caller receives the error of a failed start.
    abortOnError: false,
  });
  // The hooks of one kind run in the order in which they are added here. The drain comes first, because nothing may read a request that it
  // refuses.
  const drain = nest.get(Drain);
  drain.observe(fastify, underWay);
  nest.get(Metrics).observe(fastify);
  admitBodies(fastify, nest.get(ApiKeys));
  serveDocs(nest);
  await nest.init();
  addOtherMethods();
  nest.useLogger(new PinoLoggerService(logger));
  return { nest, drain };
}

const LOUDER_THAN_INFO: Partial<Record<Config['LOG_LEVEL'], string>> = { info: 'warn' };
