import ky, { HTTPError } from 'ky';
import pRetry from 'p-retry';

const STATUSES = [409, 429, 500, 502, 503, 504];
const retry = { limit: 9, methods: ['post'], statusCodes: STATUSES, afterStatusCodes: STATUSES, retryOnTimeout: true };

export const charge = (url, key, body, timeoutMs = 30_000) =>
  // ky retries until the reply begins, and p-retry if the reply breaks off.
  pRetry(
    () =>
      ky.post(`${url}/charges`, { json: body, headers: { 'Idempotency-Key': key }, timeout: timeoutMs, retry }).json(),
    { retries: 2, shouldRetry: ({ error }) => !(error instanceof HTTPError) },
  );
