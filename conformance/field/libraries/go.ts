import type { Library } from '../library.js';
import { CONTRACT, NO_REPLAY_HEADER, TWO_CLIENTS } from './contract.js';

const FIBER = {
  language: 'Go',
  toolchain: 'go',
  readyPath: '/charges',
  store: 'Redis',
  configuration: 'x',
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
  reasons: {},
} as const;

export const GO: readonly Library[] = [
  {
    ...FIBER,
    name: 'gofiber-v3',
    version: '3.1.0',
    folder: 'gofiber-v3',
    promise: { text: 'x', address: 'https://docs.gofiber.io/middleware/idempotency' },
  },
  {
    ...FIBER,
    name: 'gofiber-v2',
    version: '2.52.15',
    folder: 'gofiber-v2',
    promise: { text: 'x', address: 'https://docs.gofiber.io/v2.x/api/middleware/idempotency' },
  },
];
