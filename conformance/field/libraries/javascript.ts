import type { Library } from '../library.js';
import { POWERTOOLS } from './powertools.js';
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
    configuration: POWERTOOLS.configuration,
    promise: {
      text: POWERTOOLS.promise,
      address: 'https://docs.aws.amazon.com/powertools/typescript/latest/features/idempotency/',
    },
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
    notPromised: POWERTOOLS.notPromised,
    reasons: POWERTOOLS.reasons,
  },
  {
    name: 'express-idempotency',
    version: '1.0.6',
    language: 'TypeScript',
    toolchain: 'npm',
    folder: 'express-idempotency',
    store: 'Redis',
    configuration: 'The defaults, with the Redis adapter express-idempotency-redis-adapter 1.0.8.',
    promise: {
      text: 'the middleware keeps the first successful response of a key and sends it again, and refuses a request that is still in progress with 409',
      address: 'https://www.npmjs.com/package/express-idempotency',
    },
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
    races: { storm: 'double effect', replicas: 'double effect', expiry: 'double effect', 'hang-up': 'wrong reply' },
    reasons: {
      storm:
        'The middleware looks a key up and then creates it, in two commands. Two requests that arrive at once both find nothing and both run.',
      replicas: 'The same race as in `storm`, between two processes.',
      'hang-up': 'The same race as in `storm`, between a request whose client hung up and its retry.',
      expiry: 'The same race as in `storm`, because an expired key is a new key.',
      scope: 'The key alone identifies a stored response. Two clients that use the same key share the response.',
      crash:
        'The record of a request in progress has the same lifetime as a response, one day. After a crash the key is refused with 409 until then.',
    },
  },
  {
    name: '@node-idempotency/nestjs',
    version: '1.0.4',
    language: 'TypeScript',
    toolchain: 'npm',
    folder: 'node-idempotency-nestjs',
    store: 'Redis',
    configuration: 'The defaults, with the Redis adapter.',
    promise: {
      text: 'no races between concurrent requests, and duplicates are detected so that a customer is not charged twice',
      address: 'https://www.npmjs.com/package/@node-idempotency/nestjs',
    },
    readyPath: '/charges',
    kit: [
      ...CONTRACT,
      ...TWO_CLIENTS,
      ...['--mismatch', '422', '--missing-key', 'accepted', '--max-key-length', '256'],
    ],
    ttl,
    leaseSeconds: 30,
    races: { expiry: 'double effect' },
    reasons: {
      scope:
        'The path, the method and the key identify a stored response. Two clients that use the same key share the response.',
      'body-order':
        'The fingerprint is a hash of the JSON text of the parsed body, in which the order of members matters.',
      'invalid-body':
        'Errors are stored like responses, so the key of an invalid body cannot be used for the corrected body.',
      expiry:
        'If a key expires between the claim that fails and the read of the stored response, the read finds nothing, and the request runs without a claim.',
      crash:
        'The record of a request in progress has the same lifetime as a response, one day. After a crash the key is refused with 409 until then.',
    },
  },
];
