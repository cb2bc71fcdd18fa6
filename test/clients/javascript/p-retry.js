import { setTimeout as sleep } from 'node:timers/promises';
import pRetry from 'p-retry';

async function send(url, key, body, timeoutMs) {
  const response = await fetch(`${url}/charges`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const reply = await response.json();
  if (response.ok || reply.retryable === false) return reply;
  throw Object.assign(new Error(`status ${response.status}`), {
    reply,
    pauseSeconds: response.headers.get('Retry-After'),
  });
}

export const charge = (url, key, body, timeoutMs = 30_000) =>
  pRetry(() => send(url, key, body, timeoutMs), {
    retries: 9,
    minTimeout: 0,
    onFailedAttempt: ({ error }) => sleep(1000 * Number(error.pauseSeconds ?? 1)),
  });
