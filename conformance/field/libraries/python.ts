import type { Library } from '../library.js';
import { POWERTOOLS } from './powertools.js';
import { CONTRACT, NO_LONGEST_KEY, NO_REPLAY_HEADER, TWO_CLIENTS } from './contract.js';

const base = { language: 'Python', toolchain: 'pip', readyPath: '/charges' } as const;
const ttl = { seconds: 2, env: { KEY_TTL_SECONDS: '2' } };

const IDEMKIT = {
  ...base,
  version: '1.0.2',
  folder: 'idemkit',
  promise: {
    text: 'one atomic claim, a lease after a crash, a fencing token, and replay to duplicates; "effectively once", not exactly once',
    address: 'https://github.com/idemkit/idemkit/blob/main/python/README.md',
  },
  kit: [
    ...CONTRACT,
    ...['--header', 'x-user-id: one', '--other-header', 'x-user-id: two'],
    ...['--replay-header', 'idempotency-replayed: true', '--mismatch', '422', '--in-progress', '423'],
    ...['--missing-key', 'accepted'],
  ],
  ttl,
  leaseSeconds: 45,
  reasons: {
    crash:
      'After a crash the lease expires, and the next attempt runs the handler again. The record of the first attempt is fenced, its effect is not. The README advises to pass the key downstream.',
  },
} as const;

export const PYTHON: readonly Library[] = [
  {
    ...base,
    name: 'aws-lambda-powertools',
    version: '3.37.0',
    folder: 'powertools-python',
    store: 'Redis',
    configuration: POWERTOOLS.configuration,
    promise: {
      text: POWERTOOLS.promise,
      address: 'https://docs.aws.amazon.com/powertools/python/latest/utilities/idempotency/',
    },
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
    ...IDEMKIT,
    name: 'idemkit',
    store: 'Redis',
    env: { STORE: 'Redis' },
    configuration: 'The defaults and the scope of the README, which is a header with the user.',
  },
  {
    ...IDEMKIT,
    name: 'idemkit-postgresql',
    store: 'PostgreSQL',
    env: { STORE: 'PostgreSQL' },
    configuration: 'The defaults and the scope of the README, which is a header with the user.',
    races: { refusal: 'wrong reply', 'invalid-body': 'broken rule' },
    reasons: {
      ...IDEMKIT.reasons,
      refusal:
        'A response other than 200, 201 and 202 is not kept, and its claim is released after the response was sent. A retry that is faster than the release gets 423 or 503.',
      'invalid-body':
        'The claim of a response other than 200, 201 and 202 is released after the response was sent. A request that is faster than the release gets 423 or 503.',
    },
  },
  {
    ...base,
    name: 'drf-idempotency',
    version: '1.0.0',
    folder: 'drf-idempotency',
    store: 'PostgreSQL',
    configuration: 'The defaults, with the middleware and the database backend of the quick start.',
    promise: {
      text: 'the same response to each retry, no double processing under concurrent retries, and 422 for another body',
      address: 'https://pypi.org/project/drf-idempotency/',
    },
    kit: [...CONTRACT, ...TWO_CLIENTS, ...['--mismatch', '422', '--missing-key', 'accepted']],
    ttl,
    leaseSeconds: 40,
    races: { expiry: 'broken rule' },
    reasons: {
      scope: 'The key alone identifies a stored response. Two clients that use the same key share the response.',
      'body-order': 'The fingerprint is a hash of the bytes of the body.',
      'invalid-body':
        'Client errors are stored by default, as the setting CACHE_CLIENT_ERROR_RESPONSES says, so the key of an invalid body cannot be used for the corrected body.',
      expiry:
        'The database backend deletes an expired record and creates a new one. A concurrent request reads the record in between, fails with DoesNotExist and gets a 500.',
      crash:
        'The lock of an attempt expires after 30 seconds, and then another attempt runs. The record does not say whether the first attempt had its effect.',
    },
  },
  {
    ...base,
    name: 'asgi-idempotency-header',
    version: '0.2.0',
    folder: 'asgi-idempotency-header',
    store: 'Redis',
    configuration: 'The defaults, with the Redis backend.',
    promise: {
      text: 'the execution of mutating endpoints happens exactly once, regardless of the number of requests',
      address: 'https://pypi.org/project/asgi-idempotency-header/',
    },
    kit: [...CONTRACT, ...TWO_CLIENTS, ...NO_LONGEST_KEY, ...['--missing-key', 'accepted']],
    ttl,
    leaseSeconds: 30,
    races: { 'hang-up': 'stuck key', expiry: 'stuck key', storm: 'broken rule', replicas: 'broken rule' },
    reasons: {
      storm:
        'The payload and the status are stored by two commands. A request between the two reads a payload without a status, and fails with 500.',
      replicas:
        'The payload and the status are stored by two commands. A request between the two reads a payload without a status, and fails with 500.',
      mismatch: 'The body is not stored with the key, so another body gets the stored response.',
      'other-path': 'The path is not part of the key, so another endpoint gets the stored response.',
      scope: 'The key alone identifies a stored response. Two clients that use the same key share the response.',
      'invalid-body': 'Every JSON response is stored, also a 400.',
      'hang-up':
        'A client that hangs up while it sends its body leaves its key in the set of keys in progress, which has no lifetime, or a stored 400, because the body was incomplete.',
      expiry:
        'The response expires, and the key stays in the set of keys in progress, which has no lifetime. The key is refused with 409 for ever. If the stored status expires between two reads, the request fails with 500.',
      crash: 'The set of keys in progress has no lifetime, so after a crash the key is refused with 409 for ever.',
    },
  },
  {
    ...base,
    name: 'idemptx',
    version: '0.2.2',
    folder: 'idemptx',
    store: 'Redis',
    configuration: 'The defaults, with the asynchronous Redis backend.',
    promise: {
      text: 'a lock that prevents double execution, replay of the response, and validation of the method, the URL, the headers and the body',
      address: 'https://pypi.org/project/idemptx/',
    },
    kit: [
      ...CONTRACT,
      ...TWO_CLIENTS,
      ...NO_LONGEST_KEY,
      ...['--replay-header', 'x-idempotency-status: hit'],
      ...['--mismatch', '500', '--in-progress', '500', '--missing-key', '500'],
    ],
    ttl,
    leaseSeconds: 30,
    races: { expiry: 'double effect' },
    notPromised: {
      'other-headers': 'The documentation says that the signature covers the headers.',
      replicas:
        'The documentation says that the signature covers the URL and the headers. The two replicas have different ports, so the header Host differs.',
      scope:
        'The documentation says that the signature covers the headers, so the other client is refused. The refusal is an exception, which FastAPI answers with 500.',
      'body-order': 'The documentation says that the signature covers the body, byte by byte.',
    },
    reasons: {
      'invalid-body': 'The decorator stores each JSONResponse, also a 400.',
      expiry:
        'The response and the lock have one lifetime, and a request looks for the response before it takes the lock. A response that expires in between is not looked for again.',
      crash: 'The lock has the same lifetime as a response, five minutes. After a crash the key is refused until then.',
    },
  },
  {
    ...base,
    name: 'django-idempotency-key',
    version: '1.3.0',
    folder: 'django-idempotency-key',
    store: 'Redis',
    configuration:
      '`CONFLICT_STATUS_CODE` is None, so that a duplicate gets the status of the first response. The storage and the lock are in Redis. The lock waits for five seconds, because all keys share one lock, and with the default of 0.1 seconds requests with different keys get 423. Each replay stores the response again, so a key that is retried all the time does not expire, and the check of expiry cannot decide.',
    promise: {
      text: 'an object is not created again if a request with the same key has succeeded, and the original data is returned',
      address: 'https://pypi.org/project/django-idempotency-key/',
    },
    kit: [
      ...CONTRACT,
      ...TWO_CLIENTS,
      ...NO_LONGEST_KEY,
      ...NO_REPLAY_HEADER,
      ...['--in-progress', '423', '--missing-key', '400'],
    ],
    ttl,
    leaseSeconds: 30,
    races: { storm: 'double effect', replicas: 'double effect' },
    reasons: {
      storm:
        'The lock is held while the key is looked up, not while the view runs. A second request that arrives before the first response is stored runs too.',
      replicas: 'The same race as in `storm`, between two processes.',
      mismatch:
        'The encoder hashes the key with the path, the method, the body and the credentials. Another body is another key, so it is a new request.',
      'body-order':
        'The encoder hashes the bytes of the body. The same members in another order are another key, so it is a new request.',
      'hang-up': 'A retry that arrives before the first response is stored runs too, as in `storm`.',
      crash:
        'The response is stored at the end, so nothing is known of a request that a crash interrupted. A retry runs it again.',
    },
  },
];
