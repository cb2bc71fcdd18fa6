import { hash } from 'node:crypto';

/**
 * The canonical form of a JSON value, RFC 8785: members sorted by their UTF-16 code units, no white space, and
 * numbers and strings as ECMAScript writes them. Key order, white space, `1` or `1.0`, `é` or `\u00e9` make no
 * difference; array order and values do.
 *
 * A number that JSON text carries but a double does not (`1e999`) becomes `Infinity`, which is no JSON and
 * therefore equals nothing else.
 */
export function canonicalJson(value: unknown): string {
  // As String() and JSON.stringify() write a finite number alike.
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
 * What makes two requests the same: the operation (method and route), the parameters in its path and query, and the
 * canonical body, as one JSON array, so that no separator can be forged.
 */
export function canonicalRequest(operation: string, parameters: unknown, body: unknown): string {
  return canonicalJson([operation, parameters ?? {}, body ?? null]);
}

/**
 * The SHA-256 of a {@link canonicalRequest}. A change to either changes every fingerprint: requests that were recorded
 * before would be refused as reused until they expire.
 *
 * @returns 32 bytes
 */
export function fingerprint(operation: string, parameters: unknown, body: unknown): Buffer {
  return sha256(canonicalRequest(operation, parameters, body));
}

export const sha256 = (text: string): Buffer => hash('sha256', text, 'buffer');
