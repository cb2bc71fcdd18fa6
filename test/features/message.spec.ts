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
/** Built as text, because `JSON.stringify` cannot nest this deeply. */
const DEEP = sent({ data: 0 }).replace('"data":0', `"data":${'['.repeat(20_000)}${']'.repeat(20_000)}`);

describe('a message', () => {
  it('decodes a message to the message that was encoded, for any JSON data', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (data) => {
        // The outbox cannot contain U+0000, because PostgreSQL cannot store it.
        fc.pre(!JSON.stringify(data).includes('\\u0000'));
        const plain = JSON.parse(JSON.stringify(data)) as unknown;
        expect(decode(encode(withData(plain)))).toEqual(withData(plain));
      }),
    );
  });

  it.each(['\\u0000', '\\\\u0000', 'a\\', '\n', 'é😀'])(
    'decodes a message to the message that was encoded, for text that looks like an escape: %j',
    (text) => {
      expect(decode(encode(withData(text)))).toEqual(withData(text));
    },
  );

  it.each([
    ['text that is not JSON', '{'],
    ['null', 'null'],
    ['another object', '{"no": "message"}'],
    ['a message without an account', sent({ accountId: undefined })],
    ['a message whose id is a number', sent({ id: 1 })],
    ['a message without a type', sent({ type: null })],
    ['a message whose time is not a time', sent({ createdAt: 'yesterday' })],
    [
      'a message with a time before the year 0, which PostgreSQL cannot store',
      sent({ createdAt: '-010000-01-01T00:00:00Z' }),
    ],
    ['a message with an id longer than an index of PostgreSQL can hold', sent({ id: 'x'.repeat(9_000) })],
    ['a message with an unpaired surrogate in its data', sent({ data: { text: '\ud800' } })],
    ['a message with an unpaired surrogate in the name of a member', sent({ data: { '\udc00': 1 } })],
    ['a message with data that is nested too deeply for PostgreSQL', DEEP],
    ['a message with U+0000 in its id', sent({ id: 'a\0' })],
    ['a message with U+0000 in its data', sent({ data: { text: '\\\0' } })],
  ])('refuses to decode %s', (_, text) => {
    expect(() => decode(text)).toThrow();
  });

  it('decodes a message whose names and data are at their limits, and whose time has an offset from UTC', () => {
    const name = '€'.repeat(255);
    const data = JSON.parse('['.repeat(64) + ']'.repeat(64)) as unknown;
    const text = sent({ accountId: name, id: name, data, createdAt: '2026-01-01T02:00:00.123+02:00' });
    expect(decode(text)).toEqual({ ...MESSAGE, accountId: name, id: name, data });
  });

  it('names the wrong members of a refused message, and does not quote their values', () => {
    const text = sent({ id: 'secret'.repeat(50), data: { secret: '\0' } });
    expect(() => decode(text)).toThrow(/wrong: id, data$/);
    expect(() => decode(text)).not.toThrow(/secret/);
  });
});
