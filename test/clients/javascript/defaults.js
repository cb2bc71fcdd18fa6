// Each library with its retry as it comes: only the key and a timeout are set. docs/clients.md says where that is not enough.
import axios from 'axios';
import axiosRetry from 'axios-retry';
import got from 'got';
import ky from 'ky';
import { ofetch } from 'ofetch';
import { Agent, request, RetryAgent } from 'undici';

const headersOf = (key) => ({ 'Idempotency-Key': key });
const JSON_TYPE = { 'Content-Type': 'application/json' };

const retrying = axios.create();
axiosRetry(retrying);

export const defaults = {
  fetch: async (url, key, body, timeoutMs) => {
    const headers = { ...JSON_TYPE, ...headersOf(key) };
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(`${url}/charges`, { method: 'POST', headers, body: JSON.stringify(body), signal });
    return response.json();
  },
  got: (url, key, body, timeoutMs) =>
    got.post(`${url}/charges`, { json: body, headers: headersOf(key), timeout: { request: timeoutMs } }).json(),
  'axios-retry': async (url, key, body, timeoutMs) =>
    (await retrying.post(`${url}/charges`, body, { headers: headersOf(key), timeout: timeoutMs })).data,
  ky: (url, key, body, timeoutMs) =>
    ky.post(`${url}/charges`, { json: body, headers: headersOf(key), timeout: timeoutMs }).json(),
  ofetch: (url, key, body, timeoutMs) =>
    ofetch(`${url}/charges`, { method: 'POST', body, headers: headersOf(key), timeout: timeoutMs }),
  undici: async (url, key, body, timeoutMs) => {
    const dispatcher = new RetryAgent(new Agent({ headersTimeout: timeoutMs, bodyTimeout: timeoutMs }));
    const headers = { ...JSON_TYPE, ...headersOf(key) };
    const reply = await request(`${url}/charges`, { method: 'POST', headers, body: JSON.stringify(body), dispatcher });
    return reply.body.json();
  },
};
