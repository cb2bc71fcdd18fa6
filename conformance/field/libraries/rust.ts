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
    configuration:
      'Direct Key Mode, as in the README, with the PostgreSQL store of its sessions. Each client logs in first, because the layer creates no session.',
    promise: {
      text: 'a safety net for retries; explicitly best-effort, because two identical requests that arrive at once can both run',
      address: 'https://docs.rs/axum-idempotent/0.6.0/axum_idempotent/',
    },
    readyPath: '/charges',
    logInPath: '/log-in',
    kit: [...CONTRACT, ...NO_LONGEST_KEY, ...['--replay-header', 'idempotency-replayed: true', '--missing-key', '400']],
    ttl: { seconds: 2, env: { KEY_TTL_SECONDS: '2' } },
    leaseSeconds: 30,
    races: { storm: 'double effect', replicas: 'double effect', expiry: 'double effect' },
    notPromised: {
      storm: 'The README says that two identical requests that arrive at once can both reach the handler.',
      replicas: 'The README says that two identical requests that arrive at once can both reach the handler.',
      expiry: 'The README says that two identical requests that arrive at once can both reach the handler.',
      'hang-up': 'The README says that the layer does not guarantee that a handler runs at most once.',
      mismatch: 'The README says that nothing is hashed in this mode, so the body is not compared.',
      'other-path': 'The README says that the header alone is the key in this mode.',
      crash: 'The README says that the layer does not guarantee that a handler runs at most once.',
    },
    reasons: {},
  },
];
