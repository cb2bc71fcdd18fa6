import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decode, encode, type Message } from '../../src/messaging/index.js';

const MESSAGE: Message = {
  accountId: 'acct_a',
  id: 'charge.succeeded.ch_1',
  type: 'charge.succeeded',
  data: { amount: 1999 },
  createdAt: new Date('2026-01-01T00:00:00.123Z'),
};
const withData = (data: unknown) => ({ ...MESSAGE, data });
const sent = (change: object) => JSON.stringify({ ...MESSAGE, ...change });
/** Written by hand, because `JSON.stringify` itself cannot go that deep. */
const DEEP = sent({ data: 0 }).replace('"data":0', `"data":${'['.repeat(20_000)}${']'.repeat(20_000)}`);

describe('a message', () => {
  it('arrives as it was sent, whatever it tells', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (data) => {
        // What PostgreSQL cannot store was not in the outbox.
        fc.pre(!JSON.stringify(data).includes('\\u0000'));
        const plain = JSON.parse(JSON.stringify(data)) as unknown;
        expect(decode(encode(withData(plain)))).toEqual(withData(plain));
      }),
    );
  });

  it.each(['\\u0000', '\\\\u0000', 'a\\', '\n', 'é😀'])(
    'arrives also with text that looks like an escape: %j',
    (text) => {
      expect(decode(encode(withData(text)))).toEqual(withData(text));
    },
  );

  it.each([
    ['no JSON', '{'],
    ['null', 'null'],
    ['something else', '{"no": "message"}'],
    ['without an account', sent({ accountId: undefined })],
    ['with a number for an id', sent({ id: 1 })],
    ['without a type', sent({ type: null })],
    ['with a time that is none', sent({ createdAt: 'yesterday' })],
    ['with a time before the year 0, which PostgreSQL cannot store', sent({ createdAt: '-010000-01-01T00:00:00Z' })],
    ['with an id longer than an index of PostgreSQL can hold', sent({ id: 'x'.repeat(9_000) })],
    ['with a surrogate that has no other half, in its data', sent({ data: { text: '\ud800' } })],
    ['with a surrogate that has no other half, in the name of a member', sent({ data: { '\udc00': 1 } })],
    ['with data that are nested too deeply for PostgreSQL', DEEP],
    ['with what PostgreSQL cannot store, in its id', sent({ id: 'a\0' })],
    ['with what PostgreSQL cannot store, in its data', sent({ data: { text: '\\\0' } })],
  ])('is not %s', (_, text) => {
    expect(() => decode(text)).toThrow();
  });

  it('may have names as long and data as deep as its limits, and a time with an offset from UTC', () => {
    const name = '€'.repeat(255);
    const data = JSON.parse('['.repeat(64) + ']'.repeat(64)) as unknown;
    const text = sent({ accountId: name, id: name, data, createdAt: '2026-01-01T02:00:00.123+02:00' });
    expect(decode(text)).toEqual({ ...MESSAGE, accountId: name, id: name, data });
  });

  it('that is refused names the members that are wrong, and does not quote them', () => {
    const text = sent({ id: 'secret'.repeat(50), data: { secret: '\0' } });
    expect(() => decode(text)).toThrow(/wrong: id, data$/);
    expect(() => decode(text)).not.toThrow(/secret/);
  });
});
