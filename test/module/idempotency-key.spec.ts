// Goal: prove how the Idempotency-Key header is read, and that request ids are unique and sorted by time.
// Method: generate keys and headers with fast-check, beside tables of single cases.
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { validate, version } from 'uuid';
import { IdempotencyError } from '../../src/idempotency/http/idempotency.errors.js';
import { parseIdempotencyKey, readIdempotencyKey } from '../../src/idempotency/http/idempotency-key.js';
import { newRequestId } from '../../src/idempotency/request/request-id.js';

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => String.fromCharCode(from + i));
const VISIBLE = range(0x21, 0x7e);

/** Generates keys of visible ASCII characters. Keys without `quotes` can be sent bare. */
const keys = ({ quotes = true, minLength = 1, maxLength = 255 } = {}) => {
  const unit = fc.constantFrom(...VISIBLE.filter((character) => quotes || character !== '"'));
  return fc.string({ unit, minLength, maxLength, size: 'max' });
};

/** The key as an RFC 8941 string: in quotes, with quotes and backslashes escaped. */
const quoted = (key: string) => `"${key.replace(/["\\]/g, '\\$&')}"`;

function refusalOf(read: () => string): object {
  try {
    return { key: read() };
  } catch (error) {
    if (!(error instanceof IdempotencyError)) throw error;
    const { code, outcome } = error;
    return { status: error.getStatus(), code, outcome };
  }
}

const INVALID = { status: 400, code: 'idempotency_key_invalid', outcome: 'not_started' };
const MISSING = { status: 400, code: 'idempotency_key_missing', outcome: 'not_started' };

describe('an idempotency key', () => {
  it('reads a bare key of 1 to 255 visible ASCII characters without a quote as it is', () => {
    fc.assert(fc.property(keys({ quotes: false }), (key) => expect(parseIdempotencyKey(key)).toBe(key)));
  });

  it('reads a quoted key without its quotes and escapes', () => {
    fc.assert(fc.property(keys(), (key) => expect(parseIdempotencyKey(quoted(key))).toBe(key)));
  });

  it('refuses a key with any other character, bare or quoted', () => {
    const others = fc.oneof(
      fc.constantFrom(' ', '\t', '\0', '\x1f', '\x7f', '\x80', 'é', 'ÿ', '\ufeff'),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).filter((unit) => !VISIBLE.includes(unit)),
    );
    fc.assert(
      fc.property(keys({ quotes: false, maxLength: 20 }), others, fc.nat(20), (key, other, at) => {
        const spoilt = key.slice(0, at) + other + key.slice(at);
        expect(refusalOf(() => parseIdempotencyKey(spoilt))).toEqual(INVALID);
        expect(refusalOf(() => parseIdempotencyKey(quoted(spoilt)))).toEqual(INVALID);
      }),
    );
  });

  it('refuses a key of more than 255 characters, not counting escapes', () => {
    fc.assert(
      fc.property(keys({ minLength: 256, maxLength: 600 }), (key) => {
        expect(refusalOf(() => parseIdempotencyKey(quoted(key)))).toEqual(INVALID);
        expect(refusalOf(() => parseIdempotencyKey(key))).toEqual(INVALID);
      }),
    );
    for (const character of ['k', '"']) {
      const longest = character.repeat(255);
      expect(parseIdempotencyKey(quoted(longest))).toBe(longest);
      expect(refusalOf(() => parseIdempotencyKey(quoted(longest + character)))).toEqual(INVALID);
    }
  });

  it.each([
    ['order_12345', 'order_12345'],
    ['"order_12345"', 'order_12345'],
    ['8e03978e-40d5-43dd-bc93-6894a57f9324', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['!', '!'],
    ['~', '~'],
    ['a,b', 'a,b'],
    ['a;b=c', 'a;b=c'],
    ["'a'", "'a'"],
    ['a\\b', 'a\\b'],
    ['"a\\\\b"', 'a\\b'],
    ['"a\\"b"', 'a"b'],
    ['"\\"\\""', '""'],
    ['%22a%22', '%22a%22'],
  ])('reads the header value %j as the key %j', (value, key) => {
    expect(parseIdempotencyKey(value)).toBe(key);
  });

  it.each([
    ['', 'empty'],
    ['""', 'empty, in quotes'],
    ['"', 'half a pair of quotes'],
    ['"a', 'no quote at the end'],
    ['a"', 'no quote at the start'],
    ['a"b', 'a quote within'],
    ['"a"b"', 'a quote within quotes'],
    ['"a\\"', 'an escape that takes the last quote'],
    ['"\\a"', 'an escape of something else'],
    ['"a" ', 'white space after it'],
    [' a', 'white space before it'],
    ['"a b"', 'white space within quotes'],
    ['"a", "b"', 'two keys'],
    ['"a";version=1', 'parameters'],
    ['a\nb', 'two lines'],
    ['a\n', 'a line end'],
    ['Ａ', 'a letter that looks like ASCII'],
  ])('refuses the header value %j: %s', (value) => {
    expect(refusalOf(() => parseIdempotencyKey(value))).toEqual(INVALID);
  });
});

describe('the header of an idempotency key', () => {
  it.each([
    ['written in another case', ['IDEMPOTENCY-Key', 'k'], { key: 'k' }],
    ['among other headers', ['Host', 'localhost', 'idempotency-key', '"k"', 'accept', '*/*'], { key: 'k' }],
    ['only the value of another header', ['x-note', 'idempotency-key', 'x-more', 'k'], MISSING],
    ['only part of a longer name', ['x-idempotency-key', 'k', 'idempotency-key-2', 'k'], MISSING],
    ['missing', ['host', 'localhost'], MISSING],
    ['missing, like every other header', [], MISSING],
    ['empty', ['idempotency-key', ''], INVALID],
    ['sent twice', ['idempotency-key', 'a', 'idempotency-key', 'b'], INVALID],
    ['sent twice with the same key', ['idempotency-key', 'k', 'accept', '*/*', 'Idempotency-Key', 'k'], INVALID],
    ['sent twice, once empty', ['idempotency-key', '', 'idempotency-key', 'k'], INVALID],
  ])('reads the header of the key from the raw headers when it is %s', (_, rawHeaders, expected) => {
    expect(refusalOf(() => readIdempotencyKey(rawHeaders))).toEqual(expected);
  });

  it('reads the header of the key among any other headers', () => {
    const others = fc.array(fc.tuple(fc.constantFrom('host', 'accept', 'cookie'), fc.string()), { maxLength: 5 });
    fc.assert(
      fc.property(others, keys(), others, (before, key, after) => {
        const rawHeaders = [...before, ['Idempotency-Key', quoted(key)], ...after].flat();
        expect(readIdempotencyKey(rawHeaders)).toBe(key);
      }),
    );
  });
});

describe('a request id', () => {
  afterEach(() => {
    jest.restoreAllMocks();
  });

  /** Every time in milliseconds that fits into the 48 bits of a version 7 UUID. */
  const times = fc.nat({ max: 2 ** 48 - 1 });
  const timeOf = (id: string) => parseInt(id.replaceAll('-', '').slice(0, 12), 16);
  const idAt = (ms: number) => {
    jest.spyOn(Date, 'now').mockReturnValue(ms);
    return newRequestId();
  };

  it('makes a request id that is a version 7 UUID with the time of its creation, RFC 9562 section 5.7', () => {
    fc.assert(
      fc.property(times, (ms) => {
        const id = idAt(ms);
        expect(validate(id)).toBe(true);
        expect(version(id)).toBe(7);
        expect(timeOf(id)).toBe(ms);
      }),
    );
  });

  it('makes a request id from the present time', () => {
    const inOrder = [Date.now(), timeOf(newRequestId()), Date.now()];
    expect(inOrder).toEqual(inOrder.toSorted((one, other) => one - other));
  });

  it('makes request ids that sort after those of earlier milliseconds', () => {
    fc.assert(
      fc.property(times, fc.oneof(fc.constant(1), times), (ms, later) => {
        fc.pre(later > 0 && ms + later < 2 ** 48);
        expect(idAt(ms) < idAt(ms + later)).toBe(true);
      }),
    );
  });

  it('makes different request ids within one millisecond', () => {
    jest.spyOn(Date, 'now').mockReturnValue(1_800_000_000_000);
    const ids = Array.from({ length: 10_000 }, newRequestId);
    expect(new Set(ids).size).toBe(ids.length);
  });
});
