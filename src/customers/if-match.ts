import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { validationFailed } from '../http/validation-failed.js';

/**
 * The condition of a request: `none` if it has no `If-Match`, `any` (`*`) if the customer must exist, or `versions` if
 * the customer must have one of the listed versions.
 */
export type Precondition = { kind: 'none' } | { kind: 'any' } | { kind: 'versions'; versions: number[] };

// RFC 9110 §8.8.3: an opaque tag in double quotes, with W/ before it if it is weak. The tag may contain a comma.
const ENTITY_TAG = '(?:W/)?"[!#-~\\x80-\\xff]*"';
/** Pattern of a list of entity tags. Elements of the list may be empty (RFC 9110 §5.6.1). */
export const ENTITY_TAGS = `(?:[ \\t]*,)*[ \\t]*${ENTITY_TAG}(?:[ \\t]*,(?:[ \\t]*${ENTITY_TAG})?)*[ \\t]*`;
const WELL_FORMED = new RegExp(`^(?:[*]|${ENTITY_TAGS})$`);
const EACH_TAG = new RegExp(ENTITY_TAG, 'g');
/**
 * An entity tag that this service creates: a version in double quotes. Nine digits always fit into an integer of
 * PostgreSQL.
 */
const VERSION_TAG = /^"([1-9]\d{0,8})"$/;

/**
 * Reads `If-Match` (RFC 9110 §13.1.1). A tag that this service does not create matches no version. This includes weak
 * tags, because `If-Match` compares strongly.
 *
 * @throws Problem 400 `validation_failed` if the header is not a list of entity tags
 */
export function readIfMatch(header: string | undefined): Precondition {
  if (header === undefined) return { kind: 'none' };
  if (!WELL_FORMED.test(header)) {
    throw validationFailed({ field: 'If-Match', message: 'expected an entity tag in double quotes, such as "1"' });
  }
  if (header === '*') return { kind: 'any' };
  const tags = header.match(EACH_TAG) ?? [];
  return { kind: 'versions', versions: tags.flatMap((tag) => VERSION_TAG.exec(tag)?.[1] ?? []).map(Number) };
}

/** The precondition of this request. */
export const IfMatch = createParamDecorator((_: unknown, context: ExecutionContext) =>
  readIfMatch(context.switchToHttp().getRequest<FastifyRequest>().headers['if-match']),
);
