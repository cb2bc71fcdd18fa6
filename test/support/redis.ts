import { RedisServer } from '../../harness/redis.js';

/** The program of a Redis or Valkey server. */
const SERVER = process.env['TEST_REDIS_SERVER'];

/** Name of the missing setting, if there is no Redis for tests. */
export const MISSING_REDIS = SERVER ? undefined : 'TEST_REDIS_SERVER';

/** @param settings as arguments, such as `--appendonly yes`; by default nothing is stored on disk */
export const startRedis = (...settings: string[]): Promise<RedisServer> => RedisServer.start(SERVER ?? '', settings);
