import got from 'got';

const retry = { limit: 9, methods: ['POST'], statusCodes: [409, 429, 500, 502, 503, 504] };

export const charge = (url, key, body, timeoutMs = 30_000) =>
  got
    .post(`${url}/charges`, {
      json: body,
      headers: { 'Idempotency-Key': key },
      timeout: { request: timeoutMs },
      retry,
    })
    .json();
