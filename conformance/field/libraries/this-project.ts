import type { Library } from '../library.js';

export const THIS_PROJECT: Library = {
  name: 'this project',
  version: '0.1.0',
  language: 'TypeScript',
  toolchain: 'this project',
  folder: '',
  store: 'PostgreSQL',
  configuration: 'The defaults, with two API keys.',
  env: { API_KEYS: 'acct_a:sk_a,acct_b:sk_b', LOG_LEVEL: 'warn' },
  promise: {
    text: 'at most one effect of each account and key for 24 hours, and the same reply to each attempt',
    address: '../README.md',
  },
  readyPath: '/health/ready',
  kit: [
    ...['--header', 'Authorization: Bearer sk_a', '--other-header', 'Authorization: Bearer sk_b'],
    ...['--slow-body', '{"amount": 1999, "currency": "eur", "source": "tok_slow"}'],
  ],
  ttl: { seconds: 3.6, env: { IDEMPOTENCY_RETENTION_HOURS: '0.001' } },
  leaseSeconds: 30,
  reasons: {},
};
