import type { Library } from '../library.js';
import { CONTRACT, NO_LONGEST_KEY } from './contract.js';

export const RUST: readonly Library[] = [
  {
    name: 'axum-idempotent',
    version: '0.6.0',
    language: 'Rust',
    toolchain: 'cargo',
    folder: 'axum-idempotent',
    store: 'PostgreSQL',
    configuration: 'x',
    promise: { text: 'x', address: 'https://docs.rs/axum-idempotent/0.6.0/axum_idempotent/' },
    readyPath: '/charges',
    logInPath: '/log-in',
    kit: [...CONTRACT, ...NO_LONGEST_KEY, ...['--replay-header', 'idempotency-replayed: true', '--missing-key', '400']],
    ttl: { seconds: 2, env: { KEY_TTL_SECONDS: '2' } },
    leaseSeconds: 30,
    reasons: {},
  },
];
