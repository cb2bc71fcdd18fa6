import { ApiHeader } from '@nestjs/swagger';
import type { ProblemCode } from '../http/problem.js';
import { ENTITY_TAGS } from './if-match.js';

const IF_MATCH = { name: 'If-Match', example: '"1"', description: 'The ETag of the version that the request is for' };
const VERSIONS = { type: 'string' as const, pattern: `^${ENTITY_TAGS}$` };
const ANY_VERSION = { type: 'string' as const, enum: ['*'] };

/** Documents an optional `If-Match`. */
export const ApiIfMatch = () => ApiHeader({ ...IF_MATCH, schema: { anyOf: [ANY_VERSION, VERSIONS] } });

/** Documents an `If-Match` that must be sent and must name a version. */
export const ApiRequiredIfMatch = () => ApiHeader({ ...IF_MATCH, required: true, schema: VERSIONS });

/** The response headers of a customer. */
export const ETAG = {
  ETag: {
    description: 'The version of the customer',
    required: true,
    schema: { type: 'string' as const, example: '"1"' },
  },
};

/** Errors of a request that has a customer in its body. */
export const BODY_PROBLEMS: ProblemCode[] = [
  'validation_failed',
  'malformed_json',
  'card_data_refused',
  'unauthorized',
  'version_mismatch',
  'body_too_large',
  'unsupported_media_type',
];
