import { describe, expect, it } from '@jest/globals';
import { DatabaseLooks, kept } from '../../src/operations/looks.js';
import { until } from '../support/waiting.js';

/** A question whose answers are given by the test. */
function question() {
  const asked: { answer: (value: string) => void; fail: () => void }[] = [];
  const ask = () =>
    new Promise<string>((answer, reject) => asked.push({ answer, fail: () => reject(new Error('away')) }));
  return { asked, ask };
}

describe('a look that is kept', () => {
  it('is taken once for all who ask while it is taken', async () => {
    const { asked, ask } = question();
    const look = kept(ask);
    const answers = [look(), look(), look()];
    asked[0]?.answer('one');
    expect(await Promise.all(answers)).toEqual(['one', 'one', 'one']);
    expect(asked).toHaveLength(1);
  });

  it('is taken again a little later', async () => {
    const { asked, ask } = question();
    const look = kept(ask);
    const first = look();
    asked[0]?.answer('one');
    expect(await first).toBe('one');
    await until(() => (void look(), asked.length === 2));
    asked[1]?.answer('two');
    expect(await look()).toBe('two');
  });

  it('is taken again also if it failed', async () => {
    const { asked, ask } = question();
    const look = kept(ask);
    const first = look();
    asked[0]?.fail();
    await expect(first).rejects.toThrow('away');
    await until(() => (look().catch(() => undefined), asked.length === 2));
  });
});

describe('looks at the database', () => {
  it('are taken one after another, also behind one that failed', async () => {
    const { asked, ask } = question();
    const looks = new DatabaseLooks();
    const [first, second] = [looks.take(ask), looks.take(ask)];
    await until(() => asked.length === 1);
    asked[0]?.fail();
    await expect(first).rejects.toThrow('away');
    await until(() => asked.length === 2);
    asked[1]?.answer('two');
    expect(await second).toBe('two');
  });

  it('give up on a database that does not answer, and never ask it again before it has', async () => {
    const { asked, ask } = question();
    const looks = new DatabaseLooks();
    const stuck = [looks.take(ask), looks.take(ask)];
    for (const look of stuck) await expect(look).rejects.toThrow('does not answer');
    expect(asked).toHaveLength(1);

    asked[0]?.answer('late');
    const next = looks.take(ask);
    await until(() => asked.length === 2);
    asked[1]?.answer('in time');
    expect(await next).toBe('in time');
  });
});
