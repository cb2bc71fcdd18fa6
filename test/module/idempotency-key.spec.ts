// Goal: prove how the Idempotency-Key header is read, and that request ids are unique and sorted by time.
// Method: generate keys and headers with fast-check, beside tables of single cases.
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { v7, validate, version } from 'uuid';
import { IdempotencyError } from '../../src/idempotency/http/idempotency.errors.js';
import { parseIdempotencyKey, readIdempotencyKey } from '../../src/idempotency/http/idempotency-key.js';

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

  const timeOf = (id: string) => parseInt(id.replaceAll('-', '').slice(0, 12), 16);

  it('is a version 7 UUID that begins with the present time in milliseconds, RFC 9562 section 5.7', () => {
    const before = Date.now();
    const id = v7();
    const times = [before, timeOf(id), Date.now()];
    expect(validate(id)).toBe(true);
    expect(version(id)).toBe(7);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  it('sorts after every request id that the process made before, also within one millisecond and if the clock goes back', () => {
    const now = Date.now();
    const clock = jest.spyOn(Date, 'now');
    const idsAt = (ms: number) => {
      clock.mockReturnValue(ms);
      return Array.from({ length: 10_000 }, () => v7());
    };
    const ids = [...idsAt(now), ...idsAt(now + 1), ...idsAt(now - 60_000), ...idsAt(now + 2)];
    expect(ids).toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('sorts after the request ids that another process made in earlier milliseconds', () => {
    const now = Date.now();
    const elsewhere = Array.from({ length: 100 }, () => v7({ msecs: now - 1 }));
    expect(elsewhere.every((id) => id < v7())).toBe(true);
  });
});
