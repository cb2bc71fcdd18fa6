/** The account whose latency is measured: account B of the document. */
export const QUIET_ACCOUNT = 'acct_b';
/** The account that attacks: account A of the document. */
export const NOISY_ACCOUNT = 'acct_a';
/** So many that each account has at most as many of 400 connections as account B has. */
const HONEST_COUNT = 50;
/** The accounts that honest load is spread over. */
export const HONEST_ACCOUNTS: readonly string[] = Array.from({ length: HONEST_COUNT }, (_, i) => `acct_honest_${i}`);

const secretOf = (accountId: string) => `secret_of_${accountId}`;

/** The service's setting `API_KEYS` with all of these accounts. */
export const API_KEYS = [QUIET_ACCOUNT, NOISY_ACCOUNT, ...HONEST_ACCOUNTS]
  .map((accountId) => `${accountId}:${secretOf(accountId)}`)
  .join(',');

/** The header that names an account to the service. */
export const authorizationOf = (accountId: string) => ({ authorization: `Bearer ${secretOf(accountId)}` });
