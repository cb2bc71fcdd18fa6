import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { Problem, validationFailed } from './problem.js';

// Digits, with the single or double spaces, hyphens and dots that people put between them.
const DIGIT_GROUPS = /\d+(?:[ .-]{1,2}\d+)*/g;
/** A UUID, and the id of a charge, which is one. Some have digits in a row that a card could have. */
const ID = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\bch_[0-9a-f]{32}\b/gi;
const SHORTEST_CARD_NUMBER = 13;
const LONGEST_CARD_NUMBER = 19;
const CVC_NAME = /^(?:cvc|cvv|cid|csc|card_?cvc|security_?code)\d?$/i;
const CVC_IN_TEXT = /\b(?:cvc|cvv|csc|security code)2?\D{0,8}\d{3,4}(?!\d)/i;

/**
 * Looks at every text that a client sends, before anything else does: as a guard, since interceptors hash and look up what
 * was sent before pipes run. Validation messages name members, so even a member's name must be clean.
 *
 * Card numbers and CVCs are refused (PCI DSS 3.3 and 3.5 forbid storing the one at all and the other unprotected), and
 * so is what would not come back as it was sent: U+0000 and surrogates without their other half, which PostgreSQL
 * cannot store, and members named like what every JavaScript object inherits, which libraries drop in silence.
 */
@Injectable()
export class SafeInputGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const { body, query, params } = context.switchToHttp().getRequest<FastifyRequest>();
    check(body, '');
    check(query, '');
    // A parameter of the path is neither stored nor logged; one that looks like a card number may be an id or a key.
    for (const [name, value] of Object.entries(params as object)) checkStorable(String(value), name);
    return true;
  }
}

/** The depth of `value` is bounded: the JSON parser has seen to it. */
function check(value: unknown, path: string): void {
  if (typeof value === 'string' || typeof value === 'number') return checkText(String(value), path);
  if (typeof value !== 'object' || value === null) return;
  for (const [name, member] of Object.entries(value)) {
    checkText(name, path);
    const field = path ? `${path}.${name}` : name;
    if (name in Object.prototype || name === 'prototype') throw invalid(field, 'expected another name');
    if (CVC_NAME.test(name) && isCvc(member)) throw refused(field);
    check(member, field);
  }
}

function checkText(text: string, field: string): void {
  checkStorable(text, field);
  if (/\d/.test(text) && (CVC_IN_TEXT.test(text) || hasCardNumber(text))) throw refused(field);
}

function checkStorable(text: string, field: string): void {
  if (text.includes('\0') || !text.isWellFormed()) {
    throw invalid(field, 'expected text without U+0000 and lone surrogates');
  }
}

const isCvc = (value: unknown) =>
  (typeof value === 'string' || typeof value === 'number') && /^\s*\d{3,4}\s*$/.test(String(value));

/** Whether any run of neighbouring groups of digits is one: others may stand before and behind it. */
function hasCardNumber(text: string): boolean {
  if (text.length < SHORTEST_CARD_NUMBER) return false;
  return (text.replace(ID, ' ; ').match(DIGIT_GROUPS) ?? []).some((match) => {
    const groups = match.split(/\D+/);
    return groups.some((_, first) => {
      let digits = '';
      for (let i = first; i < groups.length && digits.length <= LONGEST_CARD_NUMBER; i++) {
        digits += groups[i];
        if (passesLuhn(digits)) return true;
      }
      return false;
    });
  });
}

/** ISO/IEC 7812-1 annex B: the check digit that every card number ends in. */
function passesLuhn(text: string): boolean {
  if (text.length < SHORTEST_CARD_NUMBER || text.length > LONGEST_CARD_NUMBER) return false;
  const digits = [...text].reverse().map(Number);
  const sum = digits.reduce((total, digit, i) => total + (i % 2 === 0 ? digit : digit * 2 - (digit > 4 ? 9 : 0)), 0);
  return sum % 10 === 0;
}

const refused = (field: string) =>
  new Problem(
    'card_data_refused',
    `${field || 'body'}: expected no card number and no CVC. Send a token such as tok_visa.`,
  );

const invalid = (field: string, message: string) => validationFailed({ field: field || 'body', message });
