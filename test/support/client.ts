import request, { type Response } from 'supertest';

/** The accounts of a service that is started with {@link TWO_ACCOUNTS}. */
export type Account = 'acct_a' | 'acct_b';
export const TWO_ACCOUNTS = { API_KEYS: 'acct_a:sk_a,acct_b:sk_b' };

/** One request of a test. */
export interface Call {
  account?: Account;
  key?: string;
  ifMatch?: string;
  body?: object;
}

/** Sends a request at once. supertest alone would send it when it is awaited, which is too late for tests that race requests. */
export function call(url: string, method: string, path: string, { account = 'acct_a', key, ifMatch, body }: Call = {}) {
  const verb = method.toLowerCase() as 'get';
  const pending = request(url)[verb](path);
  void pending.set({
    authorization: `Bearer sk_${account.slice(-1)}`,
    ...(key !== undefined && { 'idempotency-key': key }),
    ...(ifMatch !== undefined && { 'if-match': ifMatch }),
  });
  return (body === undefined ? pending : pending.send(body)).then((response: Response) => response);
}

export const isReplay = ({ headers }: Response) =>
  (headers as Record<string, string>)['idempotent-replayed'] === 'true';

export const etagOf = ({ headers }: Response) => (headers as Record<string, string>)['etag'];

/** The number of responses by status. */
export function statusesOf(responses: readonly Response[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const { status } of responses) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}
