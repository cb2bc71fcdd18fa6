import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import { Problem, validationFailed } from './problem.js';

/** The largest body, in bytes. The largest valid charge, 50 pairs of metadata in JSON escapes, has 160 KB. */
export const BODY_LIMIT_BYTES = 256 * 1024;

/** Deeper than any valid body, and far from the end of the stack for all that walk it. */
const DEEPEST = 16;

/**
 * Accepts JSON bodies and nothing else. Bytes that are no UTF-8 are refused: decoding would replace them, and two
 * different bodies would be the same request.
 */
export function acceptJsonOnly(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body: Buffer, done) => {
    try {
      done(null, parse(body));
    } catch (error) {
      done(error as Problem);
    }
  });
}

function parse(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  if (!isUtf8(body)) throw malformed('Expected JSON in UTF-8.');
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    // The parser's own message quotes the body.
    throw malformed('Expected one JSON object.');
  }
  if (isDeeper(value, DEEPEST)) {
    throw validationFailed({ field: 'body', message: `expected at most ${DEEPEST} levels of nesting` });
  }
  return value;
}

/** Whether anything in `value` is below that many levels. */
function isDeeper(value: unknown, levels: number): boolean {
  if (levels < 0) return true;
  if (typeof value !== 'object' || value === null) return false;
  for (const member of Object.values(value)) if (isDeeper(member, levels - 1)) return true;
  return false;
}

const malformed = (detail: string) => new Problem('malformed_json', detail);
