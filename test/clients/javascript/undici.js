import { Agent, request, RetryAgent } from 'undici';

const ATTEMPTS = 3;
const retry = { maxRetries: 9, methods: ['POST'], statusCodes: [409, 429, 500, 502, 503, 504] };

export async function charge(url, key, body, timeoutMs = 30_000) {
  const limits = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs };
  const dispatcher = new RetryAgent(new Agent(limits), {
    ...retry,
    errorCodes: ['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_HEADERS_TIMEOUT'],
  });
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  // RetryAgent asks for the rest of a reply that breaks off, and the service has only whole replies. So this loop asks again.
  for (let attempt = 1; ; attempt++) {
    const reply = await request(`${url}/charges`, { method: 'POST', headers, body: JSON.stringify(body), dispatcher });
    try {
      return await reply.body.json();
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}
