import type { Type } from '@nestjs/common';
import { createApp } from '../../src/app.setup.js';
import { loadConfig } from '../../src/config.js';
import { ready } from '../worker.js';

/** What every comparator inside the service runs with: as the service is started, but on a port that is free. */
export const config = loadConfig({ ...process.env, PORT: '0', LOG_LEVEL: 'warn' });

/**
 * Serves a feature within the service itself: the same guards, pipes, filter, log and metrics, another handler.
 *
 * @param path below which the feature has its `charges`
 */
export async function serveWithin(feature: Type, path: string): Promise<void> {
  const { nest } = await createApp(config, config.DATABASE_URL ?? '', [feature]);
  await nest.listen(0, '127.0.0.1');
  ready(`${await nest.getUrl()}/${path}`);
}
