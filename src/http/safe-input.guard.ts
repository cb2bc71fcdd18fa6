import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { holdsCardData, isCvc } from './card-data.js';
import { parseJson } from './json-body.js';
import { Problem, validationFailed } from './problem.js';

/** In UTF-16 code units. More than any valid text has: 500 characters of two units each. */
const MAX_TEXT_LENGTH = 1_024;
/** In UTF-16 code units. More than any valid name of a member has: 40 characters of two units each. */
const MAX_NAME_LENGTH = 128;
/** In UTF-16 code units. More than all texts of a valid body have: 50 names and values of metadata have 54,000. */
const MAX_LENGTH_OF_TEXTS = 65_536;
/** More than any route reads. */
const MAX_QUERY_VALUES = 16;
/** The methods whose path names what they store. */
const STORING = ['PUT', 'PATCH'];
/** The methods whose idempotency key is stored. */
const KEYED = ['POST', 'PATCH'];

/**
 * Parses the body and looks at every text that a client sends, before anything else does: as a guard, since interceptors hash
 * and look up what was sent before pipes run. Validation messages name members, so even a member's name must be clean.
 *
 * Card numbers and CVCs are refused (PCI DSS 3.3 and 3.5 forbid storing the one at all and the other unprotected), and
 * so is what would not come back as it was sent: U+0000 and surrogates without their other half, which PostgreSQL
 * cannot store, and members named like what every JavaScript object inherits, which libraries drop in silence.
 *
 * One request must not hold up those of other accounts, so sizes are checked first.
 */
@Injectable()
export class SafeInputGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    if (Buffer.isBuffer(request.body)) request.body = parseJson(request.body);
    if (lengthOfTexts(request.body) > MAX_LENGTH_OF_TEXTS) throw invalid('body', 'expected less text');
    check(request.body, 'body');
    // Public routes belong to no account and read neither a key nor a query.
    if (request.accountId !== undefined) {
      if (KEYED.includes(request.method)) checkKey(request.headers['idempotency-key']);
      checkQuery(request.query as object);
    }
    // An id in the path is stored by these methods, so the rule for a body holds for it: each id that can be stored can be ordered.
    // Other methods neither store nor log it, and it may be a key or an id that was stored before there was this rule.
    const checkParameter = STORING.includes(request.method) ? checkText : checkStorable;
    for (const [name, value] of Object.entries(request.params as object)) checkParameter(String(value), name);
    return true;
  }
}

function lengthOfTexts(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  return Object.entries(value).reduce((sum, [name, member]) => sum + name.length + lengthOfTexts(member), 0);
}

/** A key is hashed, stored and given back as it is sent. Whether it is a valid key is decided later. */
function checkKey(key: string | string[] | undefined): void {
  if (key !== undefined && holdsCardData(String(key))) throw refused('Idempotency-Key');
}

function checkQuery(query: object): void {
  if (Object.values(query).flat().length > MAX_QUERY_VALUES) {
    throw invalid('query', `expected at most ${MAX_QUERY_VALUES} parameters`);
  }
  check(query, 'query');
}

/** The depth and the number of values are bounded: by the JSON parser, or by the query's own limit. */
function check(value: unknown, root: string, path = ''): void {
  if (typeof value === 'string' || typeof value === 'number') return checkText(String(value), path || root);
  if (typeof value !== 'object' || value === null) return;
  for (const [name, member] of Object.entries(value)) {
    if (name.length > MAX_NAME_LENGTH) throw invalid(path || root, 'expected shorter names of members');
    checkText(name, path || root);
    const field = path ? `${path}.${name}` : name;
    if (name in Object.prototype || name === 'prototype') throw invalid(field, 'expected another name');
    if (isCvc(name, member)) throw refused(field);
    check(member, root, field);
  }
}

function checkText(text: string, field: string): void {
  if (text.length > MAX_TEXT_LENGTH) throw invalid(field, 'expected a shorter text');
  checkStorable(text, field);
  if (holdsCardData(text)) throw refused(field);
}

function checkStorable(text: string, field: string): void {
  if (text.includes('\0') || !text.isWellFormed()) {
    throw invalid(field, 'expected text without U+0000 and lone surrogates');
  }
}

const refused = (field: string) =>
  new Problem('card_data_refused', `${field}: expected no card number and no CVC. Send a token such as tok_visa.`);

const invalid = (field: string, message: string) => validationFailed({ field, message });
