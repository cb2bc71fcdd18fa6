import type { Library } from '../library.js';
import { CONTRACT, NO_LONGEST_KEY, NO_REPLAY_HEADER, TWO_CLIENTS } from './contract.js';

const ttl = { seconds: 2, env: { KEY_TTL_SECONDS: '2' } };

export const JAVASCRIPT: readonly Library[] = [
  {
    name: '@aws-lambda-powertools/idempotency',
    version: '2.35.0',
    language: 'TypeScript',
    toolchain: 'npm',
    folder: 'powertools-typescript',
    store: 'Redis',
    configuration: 'x',
    promise: { text: 'x', address: 'https://docs.aws.amazon.com/powertools/typescript/latest/features/idempotency/' },
    readyPath: '/charges',
    kit: [
      ...CONTRACT,
      ...TWO_CLIENTS,
      ...NO_LONGEST_KEY,
      ...NO_REPLAY_HEADER,
      ...['--mismatch', '502', '--in-progress', '502', '--missing-key', 'accepted'],
    ],
    ttl,
    leaseSeconds: 15,
    reasons: {},
  },
  {
    name: 'express-idempotency',
    version: '1.0.6',
    language: 'TypeScript',
    toolchain: 'npm',
    folder: 'express-idempotency',
    store: 'Redis',
    configuration: 'x',
    promise: { text: 'x', address: 'https://www.npmjs.com/package/express-idempotency' },
    readyPath: '/charges',
    kit: [
      ...CONTRACT,
      ...TWO_CLIENTS,
      ...NO_LONGEST_KEY,
      ...NO_REPLAY_HEADER,
      ...['--mismatch', '417', '--missing-key', 'accepted'],
    ],
    ttl,
    leaseSeconds: 30,
    reasons: {},
  },
  {
    name: '@node-idempotency/nestjs',
    version: '1.0.4',
    language: 'TypeScript',
    toolchain: 'npm',
    folder: 'node-idempotency-nestjs',
    store: 'Redis',
    configuration: 'x',
    promise: { text: 'x', address: 'https://www.npmjs.com/package/@node-idempotency/nestjs' },
    readyPath: '/charges',
    kit: [
      ...CONTRACT,
      ...TWO_CLIENTS,
      ...['--mismatch', '422', '--missing-key', 'accepted', '--max-key-length', '256'],
    ],
    ttl,
    leaseSeconds: 30,
    reasons: {},
  },
];
