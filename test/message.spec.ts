import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decode, encode, type Message } from '../src/messaging/index.js';

const MESSAGE: Message = {
  accountId: 'acct_a',
  id: 'charge.succeeded.ch_1',
  type: 'charge.succeeded',
  data: { amount: 1999 },
  createdAt: new Date('2026-01-01T00:00:00.123Z'),
};
const withData = (data: unknown) => ({ ...MESSAGE, data });
const sent = (change: object) => JSON.stringify({ ...MESSAGE, ...change });

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
    ['with what PostgreSQL cannot store, in its id', sent({ id: 'a\0' })],
    ['with what PostgreSQL cannot store, in its data', sent({ data: { text: '\\\0' } })],
  ])('is not %s', (_, text) => {
    expect(() => decode(text)).toThrow();
  });
});
