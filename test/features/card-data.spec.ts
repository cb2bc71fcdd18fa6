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

  // Numbers that gateways publish for tests, from several gateways for each issuer.
  it.each([
    [
      'Visa',
      '4242424242424242 4000056655665556 4111111111111111 4012888888881881 4222222222222 4007000000027 4005519200000004 4009348888881881 4012000033330026 4012000077777777 4217651111111119 4500600000000061 4444333322221111 4462030000000000 4484070000000000 4917610000000000 4917610000000000003 4988438843884305 4166676667666746 4646464646464644 4977949494949497 4000020000000000 4508750015741019 4005550000000019 4114360123456785',
    ],
    [
      'Mastercard',
      '5555555555554444 2223003122003222 5200828282828210 5105105105105100 5454545454545454 5555444433331111 2222400070000005 2222410740360010 2223000048410010 2223000048400011 5436031030606378 5100290029002909 5577000055770004 5136333333333335 5585558555855583 5123450000000008 2223000000000007 5424000000000015 5431111111111111 5500005555555559 2720990000000015',
    ],
    [
      'American Express',
      '378282246310005 371449635398431 378734493671000 370000000000002 343434343434343 341111111111111 374111111111111 371881634498004 373599005095005 340353278080900 345177925488348',
    ],
    [
      'Discover',
      '6011111111111117 6011000990139424 6011981111111113 6011000991300009 6011000400000000 6011601160116611 6445644564456445 6011000000000012 6440000000000104',
    ],
    [
      'Diners Club',
      '30569309025904 38520000023237 3056930009020004 36227206271667 36006666333344 36700102000000 36148900647913 36259600000004 38000000000006 36462462742008 30205252489926',
    ],
    ['JCB', '3530111333300000 3566002020360505 3569990010095841 3566111111111113 3541963594572595 3088000000000017'],
    [
      'UnionPay',
      '6200000000000005 6200000000000047 6205500000000000004 6243030000000001 6250941006528599 6250946000000016 6221261111117766 6223164991230014 8171999927660000 8171999900000000021',
    ],
    [
      'Maestro',
      '6759649826438453 6799990100000000019 6771798021000008 6304000000000000 6703444444444449 6759411100000008 6759560045005727054 5641821111166669 6759015050123445 67030000000000003 6771830999991239 5000550000000029 6731012345678906',
    ],
  ])('recognises every published test number of %s, also with blanks and with hyphens', (_, numbers) => {
    for (const number of numbers.split(' ')) {
      const texts = [' ', '-', ' - '].flatMap((gap) => [
        number.replace(/\d{4}(?=\d)/g, `$&${gap}`),
        number.replace(/^(\d{4})(\d{6})/, `$1${gap}$2${gap}`),
      ]);
      for (const text of [number, ...texts]) expect([text, holdsCardData(`card ${text}.`)]).toEqual([text, true]);
    }
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
const charactersOf = (alphabet: string, length: number) =>
  fc
    .noBias(fc.array(fc.constantFrom(...alphabet), { minLength: length, maxLength: length }))
    .map((characters) => characters.join(''));
const hexadecimal = (length: number) => charactersOf('0123456789abcdef', length);
const between = (first: string, last: string) =>
  fc.noBias(fc.date({ min: new Date(first), max: new Date(last), noInvalidDate: true }));
/** A moment as `yyyymmddhhmmss`. */
const compact = (date: Date) => date.toISOString().replace(/\D/g, '').slice(0, 14);
/** An id whose first bits are the milliseconds since `epochMs`. */
const snowflake = (epochMs: number, first: string, last: string) =>
  fc
    .tuple(between(first, last), fc.noBias(fc.integer({ min: 0, max: 2 ** 22 - 1 })))
    .map(([date, rest]) => String((BigInt(date.getTime() - epochMs) << 22n) | BigInt(rest)));
const uuid7 = fc.noBias(fc.uuid({ version: 7 }));
const objectId = hexadecimal(24);
const NANOID = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-';

describe('a text without a card number', () => {
  it.each([
    ['a UUID without hyphens', '0dd8df81679c4239975836248e5b44c9'],
    ['a UUID in capital letters within a text', 'order 0DD8DF81679C4239975836248E5B44C9!'],
  ])('accepts %s, although its digits without the letters could be a card number', (_, text) => {
    expect(holdsCardData(text)).toBe(false);
    expect(holdsCardData(text.toLowerCase().replace('0dd8df', ''))).toBe(true);
  });

  it('accepts the test number of a Visa card of 13 digits that can also be the number of an article', () => {
    expect(holdsCardData('4012888818888')).toBe(false);
  });

  it.each<[what: string, text: fc.Arbitrary<string>]>([
    [
      'an order with milliseconds from 2001 to 2096',
      between('2001-09-10', '2096-10-01').map((date) => `order_${date.getTime()}`),
    ],
    [
      'an order with a day and a time from 2001 to 2286',
      between('2001-09-10', '2286-11-20').map((date) => `ORD-${compact(date)}`),
    ],
    [
      'an order with a day and a number of at most 12 digits',
      fc.tuple(between('2001-09-10', '2100-01-01'), number).map(([date, n]) => `ORD-${compact(date).slice(0, 8)}-${n}`),
    ],
    ['an id of X from 2021 to June 2027', snowflake(1_288_834_974_657, '2021-01-01', '2027-06-18')],
    ['an id of Discord from 2023 to 2031', snowflake(1_420_070_400_000, '2023-01-01', '2031-08-01')],
    ['a UUID of version 7', uuid7],
    ['a UUID of version 7 without hyphens', uuid7.map((id) => `order_${id.replaceAll('-', '')}`)],
    ['a nanoid', charactersOf(NANOID, 21)],
    ['an ObjectId in which no 14 digits stand side by side', objectId.filter((id) => !/\d{14}/.test(id))],
    ['milliseconds since 1970', moment.map((date) => String(date.getTime()))],
    [
      'microseconds since 1970',
      fc.tuple(moment, fc.nat(999)).map(([date, us]) => `${date.getTime()}${`${us}`.padStart(3, '0')}`),
    ],
    ['a time in ISO 8601 beside numbers', fc.tuple(number, iso, number).map((parts) => parts.join(' '))],
    ['a day beside numbers', fc.tuple(number, day, number).map((parts) => parts.join(' '))],
    ['a day and a time beside a number', fc.tuple(day, time, number).map((parts) => parts.join(' '))],
    ['digits of a time', moment.map((date) => date.toISOString().replace(/\D/g, ''))],
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

/** The forms of ids that docs/operations.md names, because some of their ids have the beginning, the length and the check digit of a card. */
describe('an id that can look like a card number', () => {
  const digits = (length: number) => fc.noBias(digitsOf(length));
  const followedBy = (length: number, dates: fc.Arbitrary<Date>, begin: (date: Date) => string) =>
    fc.tuple(dates, digits(length)).map(([date, rest]) => `${begin(date)}-${rest}`);

  it.each<[what: string, percent: number, text: fc.Arbitrary<string>]>([
    [
      '16 digits with the day in six digits first',
      10,
      followedBy(10, between('2026-01-01', '2027-12-31'), (date) => compact(date).slice(2, 8)),
    ],
    [
      '16 digits with the day and the time in 12 digits first',
      10,
      followedBy(4, between('2026-01-01', '2027-12-31'), (date) => compact(date).slice(2)),
    ],
    [
      'milliseconds and two digits',
      10,
      followedBy(2, between('2027-01-16', '2027-01-26'), (date) => String(date.getTime())),
    ],
    ['an id of X', 10, snowflake(1_288_834_974_657, '2027-06-19', '2027-07-05')],
    ['16 random digits', 3.6, digits(16)],
    [
      'eight digits and a day',
      3.6,
      fc.tuple(digits(8), between('2001-09-10', '2100-01-01')).map(([n, date]) => `${n}-${compact(date).slice(0, 8)}`),
    ],
    ['an ObjectId', 0.01, objectId],
    [
      'letters and a UUID without hyphens',
      0.02,
      fc.noBias(fc.uuid({ version: 4 })).map((id) => `ORDER${id.replaceAll('-', '')}`),
    ],
  ])('is refused in the share of ids that docs/operations.md gives: %s, %d %%', (_, percent, text) => {
    // The seed makes the share the same in every run.
    const ids = fc.sample(text, { numRuns: 20_000, seed: 1 });
    const share = (100 * ids.filter((id) => holdsCardData(id)).length) / ids.length;
    expect(Math.abs(share - percent)).toBeLessThan(0.6);
  });

  it('is refused if it is an ObjectId with 16 digits that begin and end like a card number', () => {
    expect(holdsCardData('4111111111111111abcdef01')).toBe(true);
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
