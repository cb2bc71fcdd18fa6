import { hash } from 'node:crypto';

/**
 * The canonical form of a JSON value, RFC 8785: members sorted by their UTF-16 code units, no white space, and numbers and strings as
 * ECMAScript writes them. Two texts have the same form if they differ only in the order of members, in white space, or in spelling, such as
 * `1` and `1.0`, or `é` and `\u00e9`. Another order of an array gives another form.
 *
 * Every value that `JSON.parse` can return has its own canonical form. A number that is too large for a double (`1e999`) becomes `Infinity`,
 * which is not valid JSON and therefore equals the form of no other value. The package `canonicalize` throws for such a number, and the
 * client would get a 500 instead of an answer about its request (docs/adr/0031-what-stays-by-hand.md).
 */
export function canonicalJson(value: unknown): string {
  // String() and JSON.stringify() write a finite number in the same way, and only String() has a form for Infinity.
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  let members = '';
  for (const name of Object.keys(value).sort()) {
    const member = (value as Record<string, unknown>)[name];
    if (member !== undefined) members += `${members && ','}${JSON.stringify(name)}:${canonicalJson(member)}`;
  }
  return `{${members}}`;
}

/**
 * The canonical text of a request. Two requests are the same if their texts are equal.
 *
 * The text is one JSON array of the operation (method and route), the parameters in path and query, and the body. An array has no
 * separator that a client could forge.
 */
export function canonicalRequest(operation: string, parameters: unknown, body: unknown): string {
  return canonicalJson([operation, parameters ?? {}, body ?? null]);
}

/**
 * The SHA-256 of a {@link canonicalRequest}.
 *
 * This function and `canonicalRequest` must not change: every fingerprint would change with them, so retries of requests that were recorded
 * before would be refused with 422 `idempotency_key_reused` until their keys expire.
 *
 * @returns 32 bytes
 */
export const fingerprintOf = (canonical: string): Buffer => hash('sha256', canonical, 'buffer');
