const ATTEMPTS = 10;
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

export async function charge(url, key, body, timeoutMs = 30_000) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  const request = { method: 'POST', headers, body: JSON.stringify(body) };
  for (let attempt = 1; ; attempt++) {
    let pauseSeconds = 1;
    try {
      const response = await fetch(`${url}/charges`, { ...request, signal: AbortSignal.timeout(timeoutMs) });
      const reply = await response.json(); // inside of `try`, because the line may break within the body
      // An error without `retryable` comes from a proxy, so the charge is in doubt.
      if (response.ok || reply.retryable === false || attempt === ATTEMPTS) return reply;
      pauseSeconds = Number(response.headers.get('Retry-After') ?? 1);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
    await sleep(pauseSeconds);
  }
}
