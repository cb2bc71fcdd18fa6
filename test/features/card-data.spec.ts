// Goal: prove which texts are recognised as card numbers and CVCs, and which texts that look similar are not.
// Method: generate numbers of every issuer, in many scripts and groupings, and generate ids, dates and numbers of other kinds.
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import validator from 'validator';
import { holdsCardData, isCvc } from '../../src/http/card-data.js';

const RUNS = { numRuns: 500 };

/** The digit that makes the sum of the digits a multiple of ten, if `weigh` is applied to every second digit, beginning with the last. */
function checkDigit(digits: string, weigh: (digit: number) => number): string {
  const sum = [...digits].reverse().reduce((total, d, i) => total + (i % 2 === 0 ? weigh(Number(d)) : Number(d)), 0);
  return String((10 - (sum % 10)) % 10);
}
const luhn = (digits: string) =>
  digits + checkDigit(digits, (digit) => ((digit * 2) % 10) + Math.floor((digit * 2) / 10));
const gtin = (digits: string) => digits + checkDigit(digits, (digit) => digit * 3);

const digitsOf = (length: number) =>
  fc.array(fc.nat(9), { minLength: length, maxLength: length }).map((digits) => digits.join(''));

/** Ranges of first digits of each issuer, with the lengths of its numbers. */
const ISSUERS: [from: string, to: string, lengths: number[]][] = [
  ['4', '4', [13, 16, 19]],
  ['51', '55', [16]],
  ['2221', '2720', [16]],
  ['34', '34', [15]],
  ['37', '37', [15]],
  ['300', '305', [14]],
  ['36', '36', [14]],
  ['38', '39', [14, 16]],
  ['6011', '6011', [16, 19]],
  ['644', '659', [16, 19]],
  ['3528', '3589', [16, 19]],
  ['620', '629', [16, 17, 18, 19]],
  ['2200', '2204', [16, 19]],
  ['5018', '5018', [13, 14, 15, 16, 17, 18, 19]],
  ['6759', '6759', [16, 18, 19]],
  ['60', '60', [16]],
  ['81', '82', [16]],
];

const cardNumber = fc.constantFrom(...ISSUERS).chain(([from, to, lengths]) =>
  fc
    .tuple(fc.integer({ min: Number(from), max: Number(to) }), fc.constantFrom(...lengths))
    .chain(([prefix, length]) => digitsOf(length - 1 - String(prefix).length).map((rest) => luhn(`${prefix}${rest}`)))
    // 13 digits that are a valid article number (GTIN) are accepted, because no issuer uses 13 digits any more.
    .filter((number) => number.length !== 13 || gtin(number.slice(0, -1)) !== number),
);

/** The ten digits of each script, and of the compatibility forms of Unicode. */
const SCRIPTS = [...Intl.supportedValuesOf('numberingSystem')]
  .map((system) => [...Array(10).keys()].map((digit) => new Intl.NumberFormat(`en-u-nu-${system}`).format(digit)))
  // Systems such as Roman numerals have no digits.
  .filter((digits) => digits.every((digit) => /^\p{N}$/u.test(digit)))
  .concat([[...'⁰¹²³⁴⁵⁶⁷⁸⁹'], [...'₀₁₂₃₄₅₆₇₈₉'], [...'⓪①②③④⑤⑥⑦⑧⑨'], [...'𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗']]);

const ANY_SEPARATOR = [...' \u00a0\u2009\u3000\u200b\u200d\ufeff\u00ad\t\n-‐–—.·,;:/\\|_*#+~="\'()[]•…', '\u{1f4b3}'];
/** Separators that cannot turn digits into a date or a time. */
const PLAIN_SEPARATOR = ANY_SEPARATOR.filter((separator) => !'-./:+'.includes(separator));
const gap = (separators: string[]) =>
  fc.array(fc.constantFrom(...separators), { minLength: 1, maxLength: 3 }).map((characters) => characters.join(''));

/** Cuts a number into groups of at least `smallest` digits, and puts a gap between them. */
const grouped = (number: string, smallest: number, gapOf: (index: number) => string, sizes: number[]) => {
  let text = '';
  for (let at = 0, i = 0; at < number.length; i++) {
    const size = Math.max(smallest, sizes[i % sizes.length] ?? number.length);
    const end = number.length - (at + size) < smallest ? number.length : at + size;
    text += number.slice(at, end) + (end < number.length ? gapOf(i) : '');
    at = end;
  }
  return text;
};

const sizes = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 19 });
const gaps = (separators: string[]) => fc.array(gap(separators), { minLength: 19, maxLength: 19 });

const written = cardNumber.chain((number) =>
  fc.oneof(
    fc.constant(number),
    // Groups of any size, with the same separator everywhere.
    fc.tuple(sizes, gap(ANY_SEPARATOR)).map(([s, between]) => grouped(number, 1, () => between, s)),
    // Groups of any size, with different plain separators.
    fc.tuple(sizes, gaps(PLAIN_SEPARATOR)).map(([s, between]) => grouped(number, 1, (i) => between[i] ?? ' ', s)),
    // Groups of at least three digits, as on a card, with any separators.
    fc.tuple(sizes, gaps(ANY_SEPARATOR)).map(([s, between]) => grouped(number, 3, (i) => between[i] ?? ' ', s)),
  ),
);

const inScripts = fc
  .tuple(written, fc.array(fc.constantFrom(...SCRIPTS), { minLength: 1, maxLength: 3 }))
  .map(([text, scripts]) => {
    let i = 0;
    return text.replace(/\d/g, (digit) => scripts[i++ % scripts.length]?.[Number(digit)] ?? digit);
  });

const before = fc.constantFrom('', 'card', 'paid with ', 'order 7 ', 'ch_', '№ ', '"', 'カード', '7/', '1,2, ');
const behind = fc.constantFrom('', 'visa', ', thanks', ' 12/29', ' 987', ' 12/2029', '。', '\n5555', '-7');

describe('a card number', () => {
  it.each([
    ['Visa', '4242424242424242'],
    ['Visa of 13 digits', '4222222222222'],
    ['Mastercard', '5555555555554444'],
    ['Mastercard of the second series', '2223003122003222'],
    ['American Express', '378282246310005'],
    ['Diners Club', '30569309025904'],
    ['Diners Club', '38520000023237'],
    ['Discover', '6011111111111117'],
    ['JCB', '3530111333300000'],
    ['UnionPay', '6200000000000005'],
    ['UnionPay of 19 digits', '6205500000000000004'],
    ['Maestro', '6759649826438453'],
    ['Maestro of 19 digits', '6799990100000000019'],
    ['Mir', '2200000000000004'],
  ])('recognises the number of a test card of %s: %s', (_, number) => {
    expect(validator.isLuhnNumber(number)).toBe(true);
    expect(holdsCardData(number)).toBe(true);
  });

  it.each([
    ['with no-break spaces, as copied from a web page', '4242\u00a04242\u00a04242\u00a04242'],
    ['with zero-width spaces', '4242\u200b4242\u200b4242\u200b4242'],
    ['with slashes', '4242/4242/4242/4242'],
    ['with underscores', '4242_4242_4242_4242'],
    ['with three spaces', '4242   4242   4242   4242'],
    ['on two lines', '4242 4242 4242\n4242'],
    ['in full-width digits', '４２４２４２４２４２４２４２４２'],
    ['in Arabic digits', '٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢'],
    ['in digits with keycaps', [...'4242424242424242'].map((digit) => `${digit}\ufe0f\u20e3`).join('')],
    ['as values of a list', '1,4242424242424242,987'],
  ])('recognises a card number %s', (_, text) => {
    expect(holdsCardData(text)).toBe(true);
  });

  it('recognises card numbers that the package validator takes for a credit card', () => {
    fc.assert(
      fc.property(cardNumber, fc.nat(9), (number, last) => {
        const digits = number.slice(0, -1) + last;
        fc.pre(digits.length !== 13);
        if (validator.isCreditCard(digits)) expect([digits, holdsCardData(digits)]).toEqual([digits, true]);
        if (!validator.isLuhnNumber(digits)) expect([digits, holdsCardData(digits)]).toEqual([digits, false]);
      }),
      RUNS,
    );
  });

  it('recognises card numbers of each issuer, in digits of any script, in groups of any size, with text around them', () => {
    fc.assert(
      fc.property(inScripts, before, behind, (number, prefix, suffix) => {
        expect([number, holdsCardData(prefix + number + suffix)]).toEqual([number, true]);
      }),
      RUNS,
    );
  });
});

const moment = fc.date({ min: new Date('2000-01-01'), max: new Date('2035-12-31'), noInvalidDate: true });
const iso = moment.map((date) => date.toISOString());
const twoDigits = (number: number) => String(number).padStart(2, '0');
const day = moment.chain((date) => {
  const [y, m, d] = [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()].map(twoDigits);
  return fc.constantFrom(`${y}-${m}-${d}`, `${d}.${m}.${y}`, `${m}/${d}/${y}`, `${d}-${m}-${y}`, `${y}/${m}/${d}`);
});
const time = fc.oneof(
  iso.map((text) => text.slice(11, 16)),
  iso.map((text) => text.slice(11, 19)),
  iso.map((text) => text.slice(11, 23)),
);
/** A number of at most 12 digits, for example of an order or an amount. */
const number = fc.bigInt({ min: 0n, max: 999_999_999_999n }).map(String);
const hexadecimal = (length: number) =>
  fc
    .noBias(fc.array(fc.constantFrom(...'0123456789abcdef'), { minLength: length, maxLength: length }))
    .map((digits) => digits.join(''));
/** An id whose first bits are the milliseconds since `epochMs`. */
const snowflake = (epochMs: number) =>
  fc
    .tuple(fc.integer({ min: Date.UTC(2021, 0), max: Date.UTC(2027, 0) }), fc.integer({ min: 0, max: 2 ** 22 - 1 }))
    .map(([ms, rest]) => String((BigInt(ms - epochMs) << 22n) | BigInt(rest)));

describe('a text without a card number', () => {
  it.each([
    ['a UUID without hyphens', '0dd8df81679c4239975836248e5b44c9'],
    ['a UUID in capital letters within a text', 'order 0DD8DF81679C4239975836248E5B44C9!'],
  ])('accepts %s, although its digits without the letters could be a card number', (_, text) => {
    expect(holdsCardData(text)).toBe(false);
    expect(holdsCardData(text.toLowerCase().replace('0dd8df', ''))).toBe(true);
  });

  it.each<[what: string, text: fc.Arbitrary<string>]>([
    ['milliseconds since 1970', moment.map((date) => String(date.getTime()))],
    [
      'microseconds since 1970',
      fc.tuple(moment, fc.nat(999)).map(([date, us]) => `${date.getTime()}${`${us}`.padStart(3, '0')}`),
    ],
    ['a time in ISO 8601 beside numbers', fc.tuple(number, iso, number).map((parts) => parts.join(' '))],
    ['a day beside numbers', fc.tuple(number, day, number).map((parts) => parts.join(' '))],
    ['a day and a time beside a number', fc.tuple(day, time, number).map((parts) => parts.join(' '))],
    ['digits of a time', moment.map((date) => date.toISOString().replace(/\D/g, ''))],
    ['an id of X', snowflake(1_288_834_974_657)],
    ['an id of Discord', snowflake(1_420_070_400_000)],
    ['a ULID', fc.noBias(fc.ulid())],
    ['a UUID', fc.uuid()],
    ['a UUID without hyphens', fc.noBias(fc.uuid()).map((id) => id.replaceAll('-', ''))],
    ['a SHA-1', hexadecimal(40)],
    ['a SHA-256', hexadecimal(64)],
    ['the id of a charge', fc.uuid().map((id) => `ch_${id.replaceAll('-', '')}`)],
    [
      'the number of an order',
      fc.tuple(fc.constantFrom('order_', 'ORD-', '#', '2026-'), number).map((parts) => parts.join('')),
    ],
    ['the number of an article', digitsOf(12).map(gtin)],
    [
      'the number of a device',
      fc.tuple(fc.constantFrom('35', '86', '01', '99'), digitsOf(12)).map((parts) => luhn(parts.join(''))),
    ],
    [
      'a telephone number',
      fc
        .tuple(fc.constantFrom('49', '43', '44', '1'), digitsOf(11))
        .map(([c, rest]) => `+${c} ${rest.slice(0, 3)} ${rest.slice(3)}`),
    ],
  ])('accepts %s as a text without a card number', (_, text) => {
    fc.assert(
      fc.property(text, (value) => {
        expect([value, holdsCardData(value)]).toEqual([value, false]);
      }),
      RUNS,
    );
  });
});

describe('a CVC', () => {
  it.each(['cvc 987', 'the CVV: 987', 'CVC2 = 9876', 'cvc:٩٨٧', 'card_cvc 987', 'my security code is 987'])(
    'recognises a CVC in a text that names it: %s',
    (text) => {
      expect(holdsCardData(text)).toBe(true);
    },
  );

  it.each(['CSC-2000', 'cvc: none', 'cvc not stored, room 123', 'cid 1234', 'cvc 98765', 'service 123'])(
    'recognises no CVC in a text that does not name one: %s',
    (text) => {
      expect(holdsCardData(text)).toBe(false);
    },
  );

  it.each([
    ['cvc', '987', true],
    ['CVV2', '9876', true],
    ['card_cvc', 987, true],
    ['security_code', ' 987 ', true],
    ['cvc', '٩٨٧', true],
    ['cid', '1234', false],
    ['cvc', 'none', false],
    ['cvc', '98765', false],
    ['cvc', { toString: 1 }, false],
  ])('recognises a CVC by the name and the value of a member, for %s: %p', (name, value, expected) => {
    expect(isCvc(name, value)).toBe(expected);
  });
});
