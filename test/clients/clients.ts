/** Runs the clients of a language: a program in this language, or a page in Chromium. */
export type Runner = (typeof RUNNERS)[number];
export const RUNNERS = ['javascript', 'python', 'go', 'java', 'chromium'] as const;

/** A client of the service, made of a library that people use. */
export interface Client {
  title: string;
  runner: Runner;
  /** The name by which its runner knows it. */
  name: string;
}

/** A client that docs/clients.md shows. */
export interface DocumentedClient extends Client {
  /** The file that the document shows, below test/clients. */
  file: string;
}

/** The clients that docs/clients.md shows. */
export const CLIENTS: readonly DocumentedClient[] = [
  { title: 'fetch', runner: 'javascript', name: 'fetch', file: 'javascript/fetch.js' },
  { title: 'fetch in Chromium', runner: 'chromium', name: 'fetch', file: 'javascript/fetch.js' },
  { title: 'fetch with p-retry', runner: 'javascript', name: 'p-retry', file: 'javascript/p-retry.js' },
  { title: 'got', runner: 'javascript', name: 'got', file: 'javascript/got.js' },
  { title: 'axios with axios-retry', runner: 'javascript', name: 'axios-retry', file: 'javascript/axios-retry.js' },
  { title: 'ky', runner: 'javascript', name: 'ky', file: 'javascript/ky.js' },
  { title: 'ofetch', runner: 'javascript', name: 'ofetch', file: 'javascript/ofetch.js' },
  { title: 'undici with RetryAgent', runner: 'javascript', name: 'undici', file: 'javascript/undici.js' },
  {
    title: 'requests with urllib3 Retry',
    runner: 'python',
    name: 'requests_urllib3',
    file: 'python/requests_urllib3.py',
  },
  { title: 'httpx with tenacity', runner: 'python', name: 'httpx_tenacity', file: 'python/httpx_tenacity.py' },
  { title: 'httpx with stamina', runner: 'python', name: 'httpx_stamina', file: 'python/httpx_stamina.py' },
  {
    title: 'httpx with httpx-retries',
    runner: 'python',
    name: 'httpx_with_retries',
    file: 'python/httpx_with_retries.py',
  },
  { title: 'Go with retryablehttp', runner: 'go', name: 'retryablehttp', file: 'go/charge.go' },
  { title: 'Java with resilience4j', runner: 'java', name: 'resilience4j', file: 'java/Charges.java' },
];

/** The same libraries with the retry that they have if they are not configured. */
export const DEFAULTS: readonly Client[] = [
  { title: 'fetch', runner: 'javascript', name: 'fetch' },
  { title: 'fetch in Chromium', runner: 'chromium', name: 'fetch' },
  { title: 'got', runner: 'javascript', name: 'got' },
  { title: 'axios-retry', runner: 'javascript', name: 'axios-retry' },
  { title: 'ky', runner: 'javascript', name: 'ky' },
  { title: 'ofetch', runner: 'javascript', name: 'ofetch' },
  { title: 'undici RetryAgent', runner: 'javascript', name: 'undici' },
  { title: 'requests, `max_retries=3`', runner: 'python', name: 'requests_urllib3' },
  { title: 'httpx, `retries=3`', runner: 'python', name: 'httpx' },
  { title: 'httpx-retries', runner: 'python', name: 'httpx_with_retries' },
  { title: 'retryablehttp', runner: 'go', name: 'retryablehttp' },
  { title: 'resilience4j', runner: 'java', name: 'resilience4j' },
];
