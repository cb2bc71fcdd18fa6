import { setTimeout as pause } from 'node:timers/promises';

/**
 * Takes samples at an interval until it is stopped.
 *
 * @returns stops it, and returns the samples; rejects when taking one failed
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
  // Whoever stops it hears of a failure.
  sampling.catch(() => undefined);
  return () => {
    stopping.abort();
    return sampling;
  };
}
