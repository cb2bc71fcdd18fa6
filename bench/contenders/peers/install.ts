import { cp, mkdir, rm } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { install } from '../../../conformance/field/install.js';
import type { Library } from '../../../conformance/field/library.js';
import { JAVASCRIPT } from '../../../conformance/field/libraries/javascript.js';

/** A library for idempotency keys as a contender. */
interface Peer {
  /** The name of the library in `conformance/field`, which has its version and its lock file. */
  library: string;
  module: string;
  /** How the contender uses it, for readers of the document. */
  usage: string;
}

export const PEERS = {
  nodeIdempotency: {
    library: '@node-idempotency/nestjs',
    module: 'node-idempotency',
    usage:
      'its decorator on the endpoint within the application of the service, with the Redis adapter and all defaults, as in its README. It names Nest 9 and 10 and works with Nest 12.',
  },
  powertools: {
    library: '@aws-lambda-powertools/idempotency',
    module: 'powertools',
    usage:
      'its `makeIdempotent` around the function, called by an endpoint within the application of the service, with its cache layer for Redis. The key is the header `Idempotency-Key`, and the time that is left to the function is 30 s.',
  },
  expressIdempotency: {
    library: 'express-idempotency',
    module: 'express-idempotency',
    usage:
      'its middleware with its Redis adapter, as in its README, on Express 4, because it needs the responses of Express. The endpoint validates the body, and has no API keys, check for card numbers, log and metrics, which is less work.',
  },
} as const satisfies Record<string, Peer>;

export type PeerId = keyof typeof PEERS;

export const isPeer = (id: string): id is PeerId => id in PEERS;

/** The library of a peer, with its version. */
export function libraryOf(id: PeerId): Library {
  const library = JAVASCRIPT.find(({ name }) => name === PEERS[id].library);
  if (!library) throw new Error(`conformance/field has no library ${PEERS[id].library}`);
  return library;
}

/** Packages of which the application may have only one version, because their classes are compared by identity. */
const OF_THE_APPLICATION = ['@nestjs', 'rxjs', 'reflect-metadata'];

/**
 * Installs a peer into `.field/`, unless it is installed already.
 *
 * The server in `conformance/field` brings the Nest 10 with it that @node-idempotency/nestjs names. Here the library runs within the service, which has
 * Nest 12. So the benchmark uses a copy without those packages, and Node finds the ones of this project, in the folder above.
 *
 * @returns the folder whose packages the contender loads
 * @throws Error with the output of npm if it fails
 */
export async function installPeer(id: PeerId): Promise<string> {
  const library = libraryOf(id);
  await install(library);
  const source = resolve('.field', library.folder, 'node_modules');
  const folder = resolve('.field', 'bench', library.folder);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await cp(source, join(folder, 'node_modules'), {
    recursive: true,
    filter: (path) => !(OF_THE_APPLICATION.includes(basename(path)) && resolve(path, '..') === source),
  });
  return folder;
}
