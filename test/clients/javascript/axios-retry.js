import axios from 'axios';
import axiosRetry from 'axios-retry';

const client = axios.create();
axiosRetry(client, {
  retries: 9,
  retryDelay: axiosRetry.exponentialDelay, // honours Retry-After
  shouldResetTimeout: true,
  retryCondition: ({ response }) => response?.data?.retryable ?? true, // without a reply, always
});

export async function charge(url, key, body, timeoutMs = 30_000) {
  const headers = { 'Idempotency-Key': key };
  const { data } = await client.post(`${url}/charges`, body, { headers, timeout: timeoutMs });
  return data;
}
