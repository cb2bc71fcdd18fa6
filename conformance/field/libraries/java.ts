import type { Library } from '../library.js';
import { CONTRACT, NO_LONGEST_KEY, NO_REPLAY_HEADER, TWO_CLIENTS } from './contract.js';

const NO_REPLIES =
  'The documentation says that the pattern filters duplicates like a message filter. It does not keep replies.';

export const JAVA: readonly Library[] = [
  {
    name: 'camel-idempotent-consumer',
    version: '4.17.0',
    language: 'Java',
    toolchain: 'maven',
    folder: 'camel',
    store: 'PostgreSQL',
    configuration:
      'The defaults, with the repository in a database. The pattern filters messages and keeps no replies: a duplicate gets its own body back, with 200.',
    promise: {
      text: 'duplicate messages are filtered out; the id of a message is added before it is processed and removed if it fails',
      address: 'https://camel.apache.org/components/4.14.x/eips/idempotentConsumer-eip.html',
    },
    readyPath: '/charges',
    kit: [...CONTRACT, ...TWO_CLIENTS, ...NO_LONGEST_KEY, ...NO_REPLAY_HEADER, ...['--missing-key', '500']],
    leaseSeconds: 30,
    races: { storm: 'broken rule' },
    notPromised: {
      duplicate: NO_REPLIES,
      'other-headers': NO_REPLIES,
      replicas: NO_REPLIES,
      mismatch: NO_REPLIES,
      'body-order': NO_REPLIES,
      refusal: NO_REPLIES,
      'invalid-body': NO_REPLIES,
      'hang-up': NO_REPLIES,
    },
    reasons: {
      storm:
        'The repository looks an id up and then inserts it. If two messages with one id arrive at once, the insert of one fails at the primary key, and the route ends with an exception, which is a 500.',
      crash:
        'The pattern keeps no replies, so a retry after the effect gets its own body back. The id is added before the message is processed, so after a crash before the effect the message is filtered out although it was not processed. Camel has JdbcOrphanLockAwareIdempotentRepository for this case.',
    },
  },
];
