import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import { Problem, validationFailed } from './problem.js';

/**
 * The largest body, in bytes. The largest valid charge, with 50 pairs of metadata, has 110 KB in UTF-8; only if emoji are
 * written as JSON escapes throughout, three times that.
 */
export const BODY_LIMIT_BYTES = 256 * 1024;

/** Deeper than any valid body, and far from the end of the stack for all that walk it. */
const MAX_LEVELS = 16;
/** More than any valid body has: an order of 100 lines has 405. Whatever looks at each value is bounded by this. */
const MAX_VALUES = 512;

/**
 * Accepts JSON bodies and nothing else. Their bytes are read here, and parsed by {@link parseJson} once the guard knows
 * whose request it is: a body of 256 KiB takes some milliseconds to parse, and requests without an API key must be cheaper.
 */
export function acceptJsonOnly(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body: Buffer, done) =>
    done(null, body),
  );
}

/**
 * Parses a body. Bytes that are not UTF-8 are refused: decoding would replace them, and two different bodies would be the
 * same request.
 *
 * @returns `undefined` for an empty body
 * @throws Problem 400 `malformed_json`; 400 `validation_failed` if there are more levels or values than in any valid body
 */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  if (!isUtf8(body)) throw malformed('Expected JSON in UTF-8.');
  checkSize(body);
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    // The parser's own message quotes the body.
    throw malformed('Expected one JSON object.');
  }
}

// The bytes of JSON outside of texts that say how large it is.
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const ARRAY_OPENS = 0x5b;
const ARRAY_CLOSES = 0x5d;
const OBJECT_OPENS = 0x7b;
const OBJECT_CLOSES = 0x7d;

/**
 * Counts levels and values in one pass over the bytes, before the parser makes objects of them: 131,000 brackets would take
 * it 20 ms, and validation half a second. JSON that is not valid may be counted wrongly, which the parser then refuses.
 */
function checkSize(json: Buffer): void {
  let [levels, values] = [0, 1];
  for (let i = 0; i < json.length; i++) {
    switch (json[i] as number) {
      case QUOTE:
        i = endOfText(json, i);
        break;
      case COMMA:
        values++;
        break;
      case ARRAY_OPENS:
      case OBJECT_OPENS:
        levels++;
        values++;
        break;
      case ARRAY_CLOSES:
      case OBJECT_CLOSES:
        levels--;
        break;
    }
    if (levels > MAX_LEVELS) throw tooLarge(`at most ${MAX_LEVELS} levels of nesting`);
    if (values > MAX_VALUES) throw tooLarge(`at most ${MAX_VALUES} values`);
  }
}

/** The index of the quote that ends the text that begins at `start`. */
function endOfText(json: Buffer, start: number): number {
  let i = start + 1;
  while (i < json.length && json[i] !== QUOTE) i += json[i] === BACKSLASH ? 2 : 1;
  return i;
}

const malformed = (detail: string) => new Problem('malformed_json', detail);
const tooLarge = (expected: string) => validationFailed({ field: 'body', message: `expected ${expected}` });
