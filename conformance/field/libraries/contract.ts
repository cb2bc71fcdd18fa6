/** Options of the kit that hold for each server with `charges.js` or its counterpart in another language. */
export const CONTRACT = [
  ...['--profile', 'stripe', '--effects', '/charges', '--effects-list', 'count'],
  ...['--slow-body', '{"amount": 1999, "currency": "eur", "before_ms": 150, "after_ms": 350}'],
] as const;

/** Credentials of two clients, for libraries whose documentation names no header that tells clients apart. */
export const TWO_CLIENTS = [
  ...['--header', 'Authorization: Bearer one', '--other-header', 'Authorization: Bearer two'],
] as const;

/** The option that switches off the check of keys that are too long, for libraries that document no limit. */
export const NO_LONGEST_KEY = ['--max-key-length', ''] as const;

export const NO_REPLAY_HEADER = ['--replay-header', ''] as const;
