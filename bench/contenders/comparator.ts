import { type DynamicModule, Module, type Type } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { AppModule } from '../../src/app.module.js';
import { createApp } from '../../src/app.setup.js';
import { loadConfig } from '../../src/config.js';
import { tuneForSpeed } from '../../src/operations/tuning.js';
import { ready } from '../worker.js';

/** The settings of every comparator inside the service: the defaults of the service, but on any free port. */
export const config = loadConfig({ ...process.env, PORT: '0', LOG_LEVEL: 'warn' });

/** The service, and the feature that is compared with it. */
@Module({})
class Comparator {
  static register(feature: Type): DynamicModule {
    return { module: Comparator, imports: [AppModule.register(config, config.DATABASE_URL ?? ''), feature] };
  }
}

/** Builds the application of the service with a feature, but does not listen. Messages are relayed all the same. */
export async function createWithin(feature: Type): Promise<NestFastifyApplication> {
  tuneForSpeed();
  return (await createApp(config, Comparator.register(feature))).nest;
}

/**
 * Serves a feature within the service itself, so that only the handler differs: guards, pipes, filter, log, metrics and tuning are the same.
 *
 * @param path the path below which the feature has its `charges`
 */
export async function serveWithin(feature: Type, path: string): Promise<void> {
  const nest = await createWithin(feature);
  await nest.listen(0, '127.0.0.1');
  ready(`${await nest.getUrl()}/${path}`);
}
