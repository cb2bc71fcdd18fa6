import { once } from 'node:events';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { BackOffLimits } from '../../src/timing/back-off.js';
import { within } from '../../src/timing/time-limit.js';

const HOUR_MS = 3_600_000;
/** Work that never settles by itself. */
const silence = () => new Promise<never>(() => undefined);

describe('a time limit', () => {
  it('returns the result of work that settles in time', async () => {
    expect(await within(HOUR_MS, () => Promise.resolve('done'))).toBe('done');
  });

  it('throws the error of work that fails in time, even if the work fails before it returns a promise', async () => {
    await expect(within(HOUR_MS, () => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
    const broken = () => {
      throw new Error('closed already');
    };
    await expect(within(HOUR_MS, broken)).rejects.toThrow('closed already');
  });

  it('throws its own error at the limit, even if the work fails because it was aborted', async () => {
    await expect(within(1, silence)).rejects.toThrow('No answer within 1 ms');
    const abortable = (limit: AbortSignal) => once(limit, 'abort').then(() => Promise.reject(new Error('aborted')));
    await expect(within(1, abortable, () => new Error('too late'))).rejects.toThrow('too late');
  });

  it('aborts the signal of the work at the limit, and not before', async () => {
    let signal: AbortSignal | undefined;
    const keep = (limit: AbortSignal) => {
      signal = limit;
      return Promise.resolve();
    };
    await within(HOUR_MS, keep);
    expect(signal?.aborted).toBe(false);
    await within(1, (limit) => keep(limit).then(silence)).catch(() => undefined);
    expect(signal?.aborted).toBe(true);
  });
});

describe('a back-off', () => {
  const wait = jest.fn<(ms: number, value: undefined, options: { signal?: AbortSignal }) => Promise<void>>();
  const backOffOf = async (limits: BackOffLimits) => {
    jest.unstable_mockModule('node:timers/promises', () => ({ setTimeout: wait }));
    const { BackOff } = await import('../../src/timing/back-off.js');
    return new BackOff(limits);
  };

  afterEach(() => void jest.restoreAllMocks());

  it('pauses twice as long after each attempt, up to its limit, until it is reset', async () => {
    // Cuts a quarter from each pause.
    wait.mockResolvedValue();
    jest.spyOn(Math, 'random').mockReturnValue(0.5);
    const backOff = await backOffOf({ shortestMs: 100, longestMs: 500 });
    for (let attempt = 0; attempt < 5; attempt++) await backOff.pause();
    backOff.reset();
    await backOff.pause();
    expect(wait.mock.calls.map(([ms]) => ms)).toEqual([75, 150, 300, 375, 375, 75]);
  });

  it('ends a pause without an error when the process stops', async () => {
    const backOff = await backOffOf({ shortestMs: HOUR_MS, longestMs: HOUR_MS });
    wait.mockImplementation((_ms, _value, { signal }) =>
      once(signal as AbortSignal, 'abort').then(() => Promise.reject(new Error('aborted'))),
    );
    const stopping = new AbortController();
    const pause = backOff.pause(stopping.signal);
    stopping.abort();
    await pause;
  });
});
