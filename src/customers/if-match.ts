import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { validationFailed } from '../http/problem.js';

/** What `If-Match` asks for: nothing, that there is anything, or one of these versions. */
export type Precondition = { kind: 'none' } | { kind: 'any' } | { kind: 'versions'; versions: number[] };

// RFC 9110 §8.8.3: an opaque tag in double quotes, weak with W/ before it. It may hold a comma.
const ENTITY_TAG = '(?:W/)?"[!#-~\\x80-\\xff]*"';
/** A list of entity tags. RFC 9110 §5.6.1: elements of a list may be empty. */
export const ENTITY_TAGS = `(?:[ \\t]*,)*[ \\t]*${ENTITY_TAG}(?:[ \\t]*,(?:[ \\t]*${ENTITY_TAG})?)*[ \\t]*`;
const WELL_FORMED = new RegExp(`^(?:[*]|${ENTITY_TAGS})$`);
const EACH_TAG = new RegExp(ENTITY_TAG, 'g');
const OURS = /^"([1-9]\d{0,8})"$/;

/**
 * Reads `If-Match`, RFC 9110 §13.1.1. Tags are compared strongly, so a weak one never matches; neither does one that we
 * never gave.
 *
 * @throws Problem 400 `validation_failed` for what is no list of entity tags
 */
export function readIfMatch(header: string | undefined): Precondition {
  if (header === undefined) return { kind: 'none' };
  if (!WELL_FORMED.test(header)) {
    throw validationFailed({ field: 'If-Match', message: 'expected an entity tag in double quotes, such as "1"' });
  }
  if (header === '*') return { kind: 'any' };
  const tags = header.match(EACH_TAG) ?? [];
  return { kind: 'versions', versions: tags.flatMap((tag) => OURS.exec(tag)?.[1] ?? []).map(Number) };
}

/** The precondition of this request. */
export const IfMatch = createParamDecorator((_: unknown, context: ExecutionContext) =>
  readIfMatch(context.switchToHttp().getRequest<FastifyRequest>().headers['if-match']),
);
