import { idempotencyKeyInvalid, idempotencyKeyMissing } from './idempotency.errors.js';

/** The request header that carries the key, lower-cased. */
const IDEMPOTENCY_KEY_HEADER = 'idempotency-key';

/** Maximum length of a key in characters: Stripe's limit, and short enough for an index entry. */
export const IDEMPOTENCY_KEY_MAX_LENGTH = 255;

const BARE = /^[\x21\x23-\x7e]+$/;
// RFC 8941 §3.3.3: a String is printable ASCII in double quotes, in which \" and \\ are the only escapes.
const QUOTED = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/;
const VISIBLE = /^[\x21-\x7e]+$/;

/**
 * Returns the idempotency key of a request. It reads the raw headers, because Node joins repeated headers into one value, so two keys would
 * look like one key that contains a comma.
 *
 * `order_12345` and `"order_12345"`, the quoted string of draft-ietf-httpapi-idempotency-key-header, are the same key.
 *
 * @param rawHeaders names and values in turn, as in `http.IncomingMessage.rawHeaders`
 * @returns `undefined` if the request has no such header
 * @throws IdempotencyError 400 `idempotency_key_invalid` for anything but one header with 1 to 255 visible ASCII characters
 */
export function findIdempotencyKey(rawHeaders: readonly string[]): string | undefined {
  const values = rawHeaders.filter(
    (_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === IDEMPOTENCY_KEY_HEADER,
  );
  const [value] = values;
  if (values.length > 1) throw idempotencyKeyInvalid('the header was sent more than once');
  return value === undefined ? undefined : parseIdempotencyKey(value);
}

/** Like {@link findIdempotencyKey}, but a request without a key gets 400 `idempotency_key_missing`. */
export function readIdempotencyKey(rawHeaders: readonly string[]): string {
  const key = findIdempotencyKey(rawHeaders);
  if (key === undefined) throw idempotencyKeyMissing();
  return key;
}

/**
 * Parses one value, bare or quoted.
 *
 * @throws IdempotencyError 400 `idempotency_key_invalid`
 */
export function parseIdempotencyKey(value: string): string {
  const key = BARE.test(value) ? value : QUOTED.exec(value)?.[1]?.replace(/\\(["\\])/g, '$1');
  if (key === undefined || !VISIBLE.test(key)) {
    throw idempotencyKeyInvalid('it is empty, has an unbalanced quote, or has characters other than visible ASCII');
  }
  if (key.length > IDEMPOTENCY_KEY_MAX_LENGTH) throw idempotencyKeyInvalid(`it has ${key.length} characters`);
  return key;
}
