// Goal: prove that public pages ask the database one query at a time and share the answers.
// Method: call `kept` and `DatabaseLooks` with queries that the test answers.
import { describe, expect, it } from '@jest/globals';
import { DatabaseLooks, kept } from '../../src/operations/looks.js';
import { until } from '../support/waiting.js';

/** A query (`ask`) that the test answers: `asked` has one entry for each time that it ran. */
function queryOfTest() {
  const asked: { answer: (value: string) => void; fail: () => void }[] = [];
  const ask = () =>
    new Promise<string>((answer, reject) => asked.push({ answer, fail: () => reject(new Error('unavailable')) }));
  return { asked, ask };
}

describe('kept', () => {
  it('runs a query once for all callers that ask while it runs', async () => {
    const { asked, ask } = queryOfTest();
    const look = kept(ask);
    const answers = [look(), look(), look()];
    asked[0]?.answer('one');
    expect(await Promise.all(answers)).toEqual(['one', 'one', 'one']);
    expect(asked).toHaveLength(1);
  });

  it('runs the query again a little later', async () => {
    const { asked, ask } = queryOfTest();
    const look = kept(ask);
    const first = look();
    asked[0]?.answer('one');
    expect(await first).toBe('one');
    await until(() => (void look(), asked.length === 2));
    asked[1]?.answer('two');
    expect(await look()).toBe('two');
  });

  it('runs the query again after it failed', async () => {
    const { asked, ask } = queryOfTest();
    const look = kept(ask);
    const first = look();
    asked[0]?.fail();
    await expect(first).rejects.toThrow('unavailable');
    await until(() => (look().catch(() => undefined), asked.length === 2));
  });
});

describe('DatabaseLooks', () => {
  it('runs queries one after another, also after one that failed', async () => {
    const { asked, ask } = queryOfTest();
    const looks = new DatabaseLooks();
    const [first, second] = [looks.take(ask), looks.take(ask)];
    await until(() => asked.length === 1);
    asked[0]?.fail();
    await expect(first).rejects.toThrow('unavailable');
    await until(() => asked.length === 2);
    asked[1]?.answer('two');
    expect(await second).toBe('two');
  });

  it('rejects callers when the database does not answer, and runs no query until it does', async () => {
    const { asked, ask } = queryOfTest();
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
