import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { Problem } from './problem.js';

/** Deeper than any valid body, and far from the end of the stack. */
const DEEPEST = 16;

// 13 to 19 digits, with the single spaces or hyphens that people put between them.
const DIGITS = /(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)/g;
const CVC_NAME = /^(?:cvc|cvv|cid|csc|card_?cvc|security_?code)\d?$/i;
const CVC_IN_TEXT = /\b(?:cvc|cvv|csc|security code)\d?\b\W{0,3}\d{3,4}\b/i;

/**
 * Looks at every string that a client sends, before anything else does: validation messages name members, so even
 * a member's name must be clean.
 *
 * Card numbers and CVCs are refused (PCI DSS 3.2 forbids storing the one unprotected and the other at all), and so
 * is text that PostgreSQL cannot store as it is: U+0000, and surrogates without their other half.
 */
@Injectable()
export class SafeInputPipe implements PipeTransform {
  transform(value: unknown, { type, data }: ArgumentMetadata): unknown {
    if (type !== 'custom') check(value, data ?? type, 0);
    return value;
  }
}

function check(value: unknown, path: string, depth: number): void {
  if (depth > DEEPEST) throw invalid('body', `expected at most ${DEEPEST} levels of nesting`);
  if (typeof value === 'string') return checkText(value, path);
  if (typeof value === 'number') return checkText(String(value), path);
  if (typeof value !== 'object' || value === null) return;
  for (const [name, member] of Object.entries(value)) {
    checkText(name, path);
    const isCvc = CVC_NAME.test(name) && /^\s*\d{3,4}\s*$/.test(String(member));
    if (isCvc) throw refused(`${path}.${name}`);
    check(member, `${path}.${name}`, depth + 1);
  }
}

function checkText(text: string, path: string): void {
  if (text.includes('\0') || !text.isWellFormed())
    throw invalid(path, 'expected text without U+0000 and lone surrogates');
  const numbers = text.match(DIGITS) ?? [];
  if (numbers.some(passesLuhn) || CVC_IN_TEXT.test(text)) throw refused(path);
}

/** ISO/IEC 7812-1 annex B: the check digit that every card number ends in. */
function passesLuhn(text: string): boolean {
  const digits = [...text.replace(/\D/g, '')].reverse().map(Number);
  const sum = digits.reduce((total, digit, i) => total + (i % 2 === 0 ? digit : digit * 2 - (digit > 4 ? 9 : 0)), 0);
  return sum % 10 === 0;
}

const refused = (path: string) =>
  new Problem(
    'card_data_refused',
    `${path}: expected no card number and no CVC. Send a token such as tok_visa instead.`,
  );

const invalid = (field: string, message: string) =>
  new Problem('validation_failed', `${field}: ${message}`, { extensions: { errors: [{ field, message }] } });
