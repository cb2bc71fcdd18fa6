import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import { Problem } from './problem.js';
import { validationFailed } from './validation-failed.js';

/**
 * Maximum size of a body. The largest valid charge, with 50 pairs of metadata, has 110 KB in UTF-8. It exceeds the limit only if it consists
 * of emoji that are written as JSON escapes, which take three times as much.
 */
export const BODY_LIMIT_BYTES = 256 * 1024;

/** Maximum depth. Valid bodies are less deep, and recursive functions stay far from the end of the stack. */
const MAX_LEVELS = 16;
/** Maximum number of values. An order of 100 lines has 405. The limit bounds all code that reads each value. */
const MAX_VALUES = 512;

/**
 * Accepts only JSON bodies, and reads them as bytes.
 *
 * {@link parseJson} parses the bytes after the guard has identified the account. A body of 256 KiB takes some milliseconds to parse, and a
 * request without an API key must cost less.
 */
export function acceptJsonOnly(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body: Buffer, done) =>
    done(null, body),
  );
}

/**
 * Parses a body. Bytes that are not UTF-8 are refused, because decoding would replace them and two different bodies could become the same
 * request.
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
    // The message of the parser is not used, because it quotes the body.
    throw malformed('Expected one JSON object.');
  }
}

// The bytes outside of JSON strings that show the depth and the number of values.
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const ARRAY_OPENS = 0x5b;
const ARRAY_CLOSES = 0x5d;
const OBJECT_OPENS = 0x7b;
const OBJECT_CLOSES = 0x7d;

/**
 * Counts levels and values in one pass over the bytes, before the parser creates objects. The parser would need 20 ms for 131,000 brackets,
 * and validation half a second. The count of invalid JSON may be wrong, but the parser refuses such a body.
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

/** The index of the closing quote of the string that begins at `start`. */
function endOfText(json: Buffer, start: number): number {
  let i = start + 1;
  while (i < json.length && json[i] !== QUOTE) i += json[i] === BACKSLASH ? 2 : 1;
  return i;
}

const malformed = (detail: string) => new Problem('malformed_json', detail);
const tooLarge = (expected: string) => validationFailed({ field: 'body', message: `expected ${expected}` });
