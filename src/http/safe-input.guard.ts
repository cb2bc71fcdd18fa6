import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { holdsCardData, isCvc } from './card-data.js';
import { parseJson } from './json-body.js';
import { Problem } from './problem.js';
import { validationFailed } from './validation-failed.js';

/** In UTF-16 code units. The longest valid text has 500 characters of two units each. */
const MAX_TEXT_LENGTH = 1_024;
/** In UTF-16 code units. The longest valid name of a member has 40 characters of two units each. */
const MAX_NAME_LENGTH = 128;
/** In UTF-16 code units, for all names and texts of a body together. 50 pairs of metadata have up to 54,000. */
const MAX_LENGTH_OF_TEXTS = 65_536;
/** Maximum number of query parameters, more than any route reads. */
const MAX_QUERY_VALUES = 16;
/** The methods that store the id in their path. */
const STORING = ['PUT', 'PATCH'];
/** The methods that store an idempotency key. */
const KEYED = ['POST', 'PATCH'];

/**
 * Parses the body and checks every text that a client sends, before any other code reads it. It is a guard, because interceptors hash the
 * body before pipes run. It also checks the names of members, because validation messages repeat them.
 *
 * It refuses:
 * - card numbers and CVCs, because PCI DSS 3.3 forbids storing a CVC and 3.5 forbids storing an unprotected card number;
 * - U+0000 and lone surrogates, because PostgreSQL cannot store them;
 * - members with a name that every JavaScript object inherits, because libraries drop them without an error.
 *
 * It checks sizes first, because the checks of one request must not delay the requests of other accounts.
 */
@Injectable()
export class SafeInputGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    if (Buffer.isBuffer(request.body)) {
      // Another party has signed these bytes, and its texts are longer than those of clients.
      if (request.routeOptions.config.takesRawBody) return true;
      request.body = parseJson(request.body);
    }
    if (lengthOfTexts(request.body) > MAX_LENGTH_OF_TEXTS) throw invalid('body', 'expected shorter texts');
    check(request.body, 'body');
    // A request of a public route has no account. Such a route reads neither a key nor a query.
    if (request.accountId !== undefined) {
      if (KEYED.includes(request.method)) checkKey(request.headers['idempotency-key']);
      checkQuery(request.query as object);
    }
    // These methods store the id in their path, so the id must pass the same check as an id in a body: every stored item can be ordered.
    // Other methods neither store nor log the path, and clients must be able to read ids and keys that were stored before this check existed.
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

/** A key is hashed, stored and returned unchanged. Its syntax is checked later. */
function checkKey(key: string | string[] | undefined): void {
  if (key !== undefined && holdsCardData(String(key))) throw refused('Idempotency-Key');
}

function checkQuery(query: object): void {
  if (Object.values(query).flat().length > MAX_QUERY_VALUES) {
    throw invalid('query', `expected at most ${MAX_QUERY_VALUES} parameters`);
  }
  check(query, 'query');
}

/** Checks a value and everything in it. The JSON parser and the limit of the query bound its depth and its number of values. */
function check(value: unknown, root: string, path = ''): void {
  if (typeof value === 'string' || typeof value === 'number') return checkText(String(value), path || root);
  if (typeof value !== 'object' || value === null) return;
  for (const [name, member] of Object.entries(value)) {
    if (name.length > MAX_NAME_LENGTH) throw invalid(path || root, 'expected shorter member names');
    checkText(name, path || root);
    const field = path ? `${path}.${name}` : name;
    if (name in Object.prototype || name === 'prototype')
      throw invalid(field, 'expected a member name that JavaScript objects do not inherit');
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
