import { setTimeout as pause } from 'node:timers/promises';

/**
 * Takes samples at an interval until it is stopped.
 *
 * @returns a function that stops the sampling and returns the samples. It rejects if a sample failed.
 */
export function sampleEvery<T>(intervalMs: number, take: () => Promise<T>): () => Promise<T[]> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const sampling = (async () => {
    const samples: T[] = [];
    while (!signal.aborted) {
      samples.push(await take());
      await pause(intervalMs, undefined, { signal }).catch(() => undefined);
    }
    return samples;
  })();
  // Prevents an unhandled rejection. The caller gets the error from the returned function.
  sampling.catch(() => undefined);
  return () => {
    stopping.abort();
    return sampling;
  };
}
