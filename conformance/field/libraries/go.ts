import type { Library } from '../library.js';
import { CONTRACT, NO_REPLAY_HEADER, TWO_CLIENTS } from './contract.js';

const FIBER = {
  language: 'Go',
  toolchain: 'go',
  readyPath: '/charges',
  store: 'Redis',
  configuration: 'The defaults, with the Redis storage.',
  kit: [
    ...CONTRACT,
    ...TWO_CLIENTS,
    ...NO_REPLAY_HEADER,
    ...[
      '--key-header',
      'X-Idempotency-Key',
      '--missing-key',
      'accepted',
      '--max-key-length',
      '36',
      '--malformed-key',
      '500',
    ],
  ],
  ttl: { seconds: 2, env: { KEY_TTL_SECONDS: '2' } },
  leaseSeconds: 30,
  notPromised: {
    replicas: 'The documentation says that the default lock is in the memory of one process.',
  },
  reasons: {
    mismatch: 'The body is not part of the key and is not stored, so another body gets the stored response.',
    'other-path': 'The path is not part of the key, so another endpoint gets the stored response.',
    scope: 'The key alone identifies a stored response. Two clients that use the same key share the response.',
    'invalid-body':
      'Each response that a handler sends is stored, also a 400. Only an error that a handler returns is not stored.',
    crash:
      'The lock is in memory and the response is stored at the end, so nothing is known of a request that a crash interrupted. A retry runs it again.',
  },
} as const;

export const GO: readonly Library[] = [
  {
    ...FIBER,
    name: 'gofiber-v3',
    version: '3.1.0',
    folder: 'gofiber-v3',
    promise: {
      text: 'duplicate requests, such as retries after network problems, do not trigger the same action twice on the server',
      address: 'https://docs.gofiber.io/middleware/idempotency',
    },
  },
  {
    ...FIBER,
    name: 'gofiber-v2',
    version: '2.52.15',
    folder: 'gofiber-v2',
    promise: {
      text: 'duplicate requests, such as retries after network problems, do not have the same action performed twice on the server',
      address: 'https://docs.gofiber.io/v2.x/api/middleware/idempotency',
    },
  },
];
