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
    configuration: 'x',
    promise: { text: 'x', address: 'https://camel.apache.org/components/4.14.x/eips/idempotentConsumer-eip.html' },
    readyPath: '/charges',
    kit: [...CONTRACT, ...TWO_CLIENTS, ...NO_LONGEST_KEY, ...NO_REPLAY_HEADER, ...['--missing-key', '500']],
    leaseSeconds: 30,
    reasons: {},
  },
];
