import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Problem } from './problem.js';

/** The largest body, in bytes. The largest valid charge, with 50 metadata pairs in escapes, is smaller. */
export const BODY_LIMIT_BYTES = 64 * 1024;

/**
 * Accepts JSON bodies and nothing else. Bytes that are no UTF-8 are refused: decoding would replace them, and two
 * different bodies would be the same request.
 */
export function acceptJsonOnly(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  const parse = fastify.getDefaultJsonParser('error', 'error');
  fastify.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    (request: FastifyRequest, body: Buffer, done) => {
      if (body.length === 0) return done(null, undefined);
      if (!isUtf8(body)) return done(new Problem('malformed_json', 'Expected JSON in UTF-8.'));
      void parse(request, body.toString('utf8'), (error, value) =>
        error ? done(new Problem('malformed_json', 'Expected one JSON object.', { cause: error })) : done(null, value),
      );
    },
  );
}
