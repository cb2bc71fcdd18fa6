import { setFlagsFromString } from 'node:v8';
import type { Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import { ApiKeys } from './accounts/api-keys.js';
import { admitBodies } from './accounts/body-admission.js';
import { AppModule } from './app.module.js';
import type { Config } from './config.js';
import { answerOtherMethods, createFastifyAdapter } from './http/fastify.js';
import { serveDocs } from './http/openapi.js';
import { ProblemFilter } from './http/problem.filter.js';
import { RequestsUnderWay } from './http/requests-under-way.js';
import { SafeInputGuard } from './http/safe-input.guard.js';
import { InputValidationPipe } from './http/validation.pipe.js';
import { Drain } from './operations/drain.js';
import { createLogger, PinoLoggerService } from './operations/logger.js';
import { Metrics } from './operations/metrics.js';

export interface App {
  nest: NestFastifyApplication;
  drain: Drain;
}

/**
 * Builds the whole application, ready to listen. `main.ts`, the tests and the benchmark all come through here.
 *
 * @param features modules to serve beside those of the service: what the benchmark compares it with
 */
export async function createApp(config: Config, databaseUrl: string, features: Type[] = []): Promise<App> {
  keepRequestsYoung();
  const logger = createLogger(config);
  const underWay = new RequestsUnderWay();
  const adapter = createFastifyAdapter(logger, underWay);
  const fastify = adapter.getInstance<FastifyInstance>();
  const drain = new Drain(fastify, underWay);
  const addOtherMethods = answerOtherMethods(fastify);

  const nest = await NestFactory.create<NestFastifyApplication>(
    AppModule.register(config, databaseUrl, drain, features),
    adapter,
    {
      bodyParser: false,
      // What goes wrong at start is thrown to the caller; Nest's own list of routes helps nobody.
      logger: new PinoLoggerService(
        logger.child({}, { level: LOUDER_THAN_INFO[config.LOG_LEVEL] ?? config.LOG_LEVEL }),
      ),
      abortOnError: false,
    },
  );
  // After the guard that finds out whose request it is.
  nest.useGlobalGuards(new SafeInputGuard());
  nest.useGlobalPipes(new InputValidationPipe());
  nest.useGlobalFilters(new ProblemFilter());
  serveDocs(nest);
  nest.get(Metrics).observe(fastify);
  admitBodies(fastify, nest.get(ApiKeys));
  await nest.init();
  addOtherMethods();
  nest.useLogger(new PinoLoggerService(logger));
  return { nest, drain };
}

/**
 * V8 allocates where the old live what has outlived a few collections while the process was new: the objects of requests,
 * when a few dozen wait for one commit. They die young ever after, and whatever they refer to waits there for a full
 * collection. Without that guess, replays take three quarters of the time (docs/adr/0013).
 */
const keepRequestsYoung = () => setFlagsFromString('--no-allocation-site-pretenuring');

const LOUDER_THAN_INFO: Partial<Record<Config['LOG_LEVEL'], string>> = { info: 'warn' };
