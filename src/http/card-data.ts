const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

/**
 * Ranges of the first four digits of card numbers, and the lengths of the numbers in each range (ISO/IEC 7812-1 and the issuers' own rules).
 * Only lengths of 13 to 19 digits are here, because the contract refuses only these.
 */
const ISSUERS: readonly (readonly [from: number, to: number, lengths: readonly number[]])[] = [
  [1800, 1800, [15]], // JCB, old series
  [2131, 2131, [15]],
  [2200, 2205, [16, 19]], // Mir, BORICA
  [2221, 2720, [16]], // Mastercard
  [3000, 3059, [14, 16, 19]], // Diners Club
  [3088, 3094, [16]], // JCB, old series
  [3095, 3095, [14, 16, 19]], // Diners Club
  [3096, 3102, [16]], // JCB, old series
  [3112, 3120, [16]],
  [3158, 3159, [16]],
  [3337, 3349, [16]],
  [3400, 3499, [15]], // American Express
  [3528, 3589, [16, 17, 18, 19]], // JCB
  [3600, 3699, [14, 16, 19]], // Diners Club
  [3700, 3799, [15]], // American Express
  [3800, 3999, [14, 16, 19]], // Diners Club
  [4000, 4999, [13, 16, 19]], // Visa
  [5000, 5099, [16, 19]], // Maestro, Dankort, Elo, RuPay, Verve
  [5100, 5599, [16]], // Mastercard
  [5600, 5899, [16, 19]], // Maestro, UzCard
  [6000, 6099, [16, 19]], // Discover, RuPay, Hipercard
  [6200, 6299, [16, 17, 18, 19]], // UnionPay, Elo
  [6300, 6399, [16, 19]], // Maestro, InterPayment, InstaPayment, Elo, Hiper
  [6440, 6599, [16, 19]], // Discover, RuPay, Troy, Verve
  [6700, 6799, [16, 17, 18, 19]], // Maestro, Bancontact
  [8100, 8171, [16, 17, 18, 19]], // UnionPay, RuPay
  [8172, 8299, [16]], // RuPay
  [8600, 8600, [16]], // UzCard
  [9704, 9704, [16, 19]], // Napas
  [9792, 9792, [16]], // Troy
  [9860, 9860, [16]], // Humo
  // Maestro cards of other lengths.
  ...[5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763].map((iin) => [iin, iin, range(13, 19)] as const),
];

const SHORTEST = 13;
const LONGEST = 19;

/** The lengths of card numbers by their first four digits. Bit 0 stands for 13 digits, bit 1 for 14, and so on. */
const LENGTHS = new Uint8Array(10_000);
for (const [from, to, lengths] of ISSUERS) {
  LENGTHS.fill(
    lengths.reduce((bits, length) => bits | (1 << (length - SHORTEST)), 0),
    from,
    to + 1,
  );
}

/**
 * A UUID with hyphens, or 32, 40 or 64 hexadecimal digits: a UUID without hyphens as in the id of a charge, a SHA-1 or a SHA-256. Some of
 * them contain digits that could be a card number.
 */
const ID =
  /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?<![0-9a-z])(?=[0-9]*[a-f])(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})(?![0-9a-z])/gi;
/** A date that stands by itself, with the year first or last. A date among other digits may be part of a card number. */
const DATE =
  /(?<!\d[-./]?)(?:(?:19|20)\d\d([-./])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])|(?:0?[1-9]|[12]\d|3[01])([-./])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)\d\d)(?![-./]?\d)/g;
/** A time of day that stands by itself, with or without seconds and their fraction. */
const TIME = /(?<!\d:?)(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?(?!:?\d)/g;
/**
 * A telephone number that stands by itself and begins with a plus sign and the code of its country. The number has at most
 * 13 digits, because card numbers of 14 digits are in use.
 */
const TELEPHONE = /(?<![a-z]|\d[^\da-z]{0,3})\+\d(?:[^\da-z]{0,3}\d){6,12}(?![^\da-z]{0,3}\d)/gi;

const CVC_NAME = /^(?:card_?)?(?:cvc|cvv|csc|security_?code)\d?$/i;
const CVC_IN_TEXT = /(?<![\da-z])(?:cvc|cvv|security code)2?\D{0,8}\d{3,4}(?!\d)/i;

/**
 * Whether a text contains a card number or a CVC. The digits may be of any script, in groups of any size, with up to three characters
 * between two groups that are not letters, and with any text around them.
 *
 * The time is linear in the length of the text, because each digit is read a limited number of times: at most seven lengths can end at a
 * digit, and no regular expression backtracks. A text of 64 KiB takes at most 7 ms.
 */
export function holdsCardData(text: string): boolean {
  if (!/\d|[^\0-\x7f]/.test(text)) return false;
  const ascii = toAscii(text);
  if (CVC_IN_TEXT.test(ascii)) return true;
  return holdsCardNumber(ascii) && holdsCardNumber(withoutOtherNumbers(ascii));
}

/** Whether a member has the name and the value of a CVC. */
export const isCvc = (name: string, value: unknown): boolean =>
  CVC_NAME.test(name) &&
  (typeof value === 'string' || typeof value === 'number') &&
  /^\s*\d{3,4}\s*$/.test(toAscii(String(value)));

const withoutOtherNumbers = (text: string) =>
  [ID, DATE, TIME, TELEPHONE].reduce((rest, others) => rest.replace(others, 'x'), text);

/** Maximum number of characters between two digits of a card number. A letter ends the number at once. */
const MOST_BETWEEN = 3;
const ZERO = 0x30;
const isDigit = (code: number) => code >= ZERO && code <= 0x39;
const isLetter = (code: number) => (code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a;

/** Whether neighbouring groups of digits form a card number. Other groups may stand before and after them. */
function holdsCardNumber(ascii: string): boolean {
  const digits = new Uint8Array(ascii.length);
  /** 1 for a digit that begins a group. A card number begins and ends with a group, because part of a longer number is not a card number. */
  const begins = new Uint8Array(ascii.length);
  let count = 0;
  let between = MOST_BETWEEN + 1;
  for (let i = 0; i < ascii.length; i++) {
    const code = ascii.charCodeAt(i);
    if (!isDigit(code)) {
      between += isLetter(code) ? MOST_BETWEEN + 1 : 1;
      continue;
    }
    if (between > MOST_BETWEEN) count = 0;
    begins[count] = between > 0 ? 1 : 0;
    digits[count++] = code - ZERO;
    between = 0;
    if (!isDigit(ascii.charCodeAt(i + 1)) && endsInCardNumber(digits, begins, count)) return true;
  }
  return false;
}

function endsInCardNumber(digits: Uint8Array, begins: Uint8Array, count: number): boolean {
  for (let length = SHORTEST; length <= LONGEST && length <= count; length++) {
    const start = count - length;
    if (begins[start] === 1 && isIssued(digits, start, length) && isChecked(digits, start, count, LUHN)) {
      // 13 digits that can be an article number count as an article number, because no card with 13 digits has been issued for decades.
      if (length > 13 || !isChecked(digits, start, count, GTIN)) return true;
    }
  }
  return false;
}

function isIssued(digits: Uint8Array, start: number, length: number): boolean {
  let firstFour = 0;
  for (let i = start; i < start + 4; i++) firstFour = firstFour * 10 + (digits[i] as number);
  return ((LENGTHS[firstFour] as number) & (1 << (length - SHORTEST))) !== 0;
}

/**
 * Whether the last digit is the check digit of the digits before it. `weights` holds the value that each digit has in every second place.
 *
 * Not from a library, because the time for 64 KiB would be four times as long (docs/adr/0031-what-stays-by-hand.md).
 */
function isChecked(digits: Uint8Array, start: number, end: number, weights: Uint8Array): boolean {
  let sum = 0;
  for (let i = end - 1; i >= start; i -= 2) sum += digits[i] as number;
  for (let i = end - 2; i >= start; i -= 2) sum += weights[digits[i] as number] as number;
  return sum % 10 === 0;
}

/** ISO/IEC 7812-1 annex B (Luhn): the sum of the digits of twice the digit. */
const LUHN = Uint8Array.of(0, 2, 4, 6, 8, 1, 3, 5, 7, 9);
/** Numbers of articles, GS1 General Specifications: three times the digit. */
const GTIN = Uint8Array.of(0, 3, 6, 9, 12, 15, 18, 21, 24, 27);

/** Cache of {@link asciiOf} for each character of Unicode. 0 means that the character was not looked up yet. */
const ASCII = new Uint8Array(0x110000);

/** The text with digits of all scripts as 0 to 9, other letters as x, and other characters as spaces. */
function toAscii(text: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  let ascii = '';
  for (let i = 0; i < text.length; i++) {
    const code = text.codePointAt(i) ?? 0;
    if (code > 0xffff) i++;
    ascii += code < 0x80 ? text[i] : String.fromCharCode((ASCII[code] ||= asciiOf(String.fromCodePoint(code))));
  }
  return ascii;
}

function asciiOf(character: string): number {
  const compatible = character.normalize('NFKC');
  if (/^[0-9]$/.test(compatible)) return compatible.charCodeAt(0);
  if (isDecimal(character)) return ZERO + valueOf(character);
  return (/[\p{L}\p{N}]/u.test(character) ? 'x' : ' ').charCodeAt(0);
}

/**
 * The value of a decimal digit. Unicode lists the ten digits of a script in a row, and some scripts without a gap between them, so the value
 * is the number of digits directly before this digit, modulo ten.
 */
function valueOf(digit: string): number {
  const code = digit.codePointAt(0) ?? 0;
  let before = 0;
  while (isDecimal(String.fromCodePoint(code - before - 1))) before++;
  return before % 10;
}

const isDecimal = (character: string) => /^\p{Nd}$/u.test(character);
