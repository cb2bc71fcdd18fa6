/** What runs a client: a program in its language, or a page in Chromium. */
export type Runner = 'javascript' | 'python' | 'go' | 'java' | 'chromium';

/** A client of the service, made of a library that people use. */
export interface Client {
  title: string;
  runner: Runner;
  /** The name by which its runner knows it. */
  name: string;
}

/** The clients that docs/clients.md shows. */
export const CLIENTS: readonly Client[] = [
  { title: 'fetch', runner: 'javascript', name: 'fetch' },
  { title: 'fetch in Chromium', runner: 'chromium', name: 'fetch' },
  { title: 'fetch with p-retry', runner: 'javascript', name: 'p-retry' },
  { title: 'got', runner: 'javascript', name: 'got' },
  { title: 'axios with axios-retry', runner: 'javascript', name: 'axios-retry' },
  { title: 'ky', runner: 'javascript', name: 'ky' },
  { title: 'ofetch', runner: 'javascript', name: 'ofetch' },
  { title: 'undici with RetryAgent', runner: 'javascript', name: 'undici' },
  { title: 'requests with urllib3 Retry', runner: 'python', name: 'requests_urllib3' },
  { title: 'httpx with tenacity', runner: 'python', name: 'httpx_tenacity' },
  { title: 'httpx with stamina', runner: 'python', name: 'httpx_stamina' },
  { title: 'httpx with httpx-retries', runner: 'python', name: 'httpx_with_retries' },
  { title: 'Go with retryablehttp', runner: 'go', name: 'retryablehttp' },
  { title: 'Java with resilience4j', runner: 'java', name: 'resilience4j' },
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
