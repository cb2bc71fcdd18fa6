import { createRequire } from 'node:module';
import { join } from 'node:path';

/** The URL of the database in Redis that belongs to this peer alone. The service has a setting REDIS_URL, which is for other things. */
export const redisUrl = process.env['PEER_REDIS_URL'] ?? '';

/** Loads a package from the folder into which the peer is installed, because the packages of this project do not include the peers. */
export const installed = createRequire(join(process.env['PEER_FOLDER'] ?? '', 'package.json'));
