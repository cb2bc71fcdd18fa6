import type { Library } from '../library.js';
import { CONTRACT, NO_LONGEST_KEY, NO_REPLAY_HEADER, TWO_CLIENTS } from './contract.js';

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
    reasons: {},
  },
];
