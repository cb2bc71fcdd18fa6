import { FetchError, ofetch } from 'ofetch';
import pRetry from 'p-retry';

const options = {
  method: 'POST',
  retry: 9,
  retryStatusCodes: [409, 429, 500, 502, 503, 504],
  retryDelay: ({ response }) => 1000 * Number(response?.headers.get('Retry-After') ?? 1),
};

export const charge = (url, key, body, timeoutMs = 30_000) =>
  // ofetch retries until the reply begins, and p-retry after a timeout and if the reply breaks off.
  pRetry(
    () => ofetch(`${url}/charges`, { ...options, body, headers: { 'Idempotency-Key': key }, timeout: timeoutMs }),
    { retries: 2, shouldRetry: ({ error }) => !(error instanceof FetchError && error.status) },
  );
