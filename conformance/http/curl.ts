import type { SentRequest } from './exchange.js';

/** Names of headers whose values may be secrets. */
const SECRET = /auth|cookie|key|password|secret|session|signature|token/i;
/** Headers that curl sends by itself. */
const OF_CURL = /^(host|connection|content-length)$/i;

/** Quotes a word for `sh`. */
export const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;

/**
 * A command that sends the request again. A secret is replaced by a variable of the shell such as `$AUTHORIZATION`, or `$OTHER_AUTHORIZATION` for
 * the other account, because the output of the kit may be stored.
 *
 * @param keyHeader the header of the idempotency key, which is not a secret
 */
export function curlOf({ method, url, headers, body, account }: SentRequest, keyHeader: string): string {
  const options = headers.flatMap((name, i) => {
    if (i % 2 === 1 || OF_CURL.test(name)) return [];
    return [`-H ${headerOf(name, headers[i + 1] ?? '', account, keyHeader)}`];
  });
  const data = body === '' ? [] : [`--data-raw ${quoted(body)}`];
  // -g, because curl would expand brackets in the URL.
  return ['curl -ig', `-X ${method}`, quoted(url), ...options, ...data].join(' ');
}

function headerOf(name: string, value: string, account: SentRequest['account'], keyHeader: string): string {
  if (SECRET.test(name) && name !== keyHeader) {
    const variable = `${account === 'other' ? 'OTHER_' : ''}${name.toUpperCase().replaceAll('-', '_')}`;
    return `"${name}: $${variable.replace(/^(?=\d)/, '_')}"`;
  }
  // curl removes a header without a value, unless a semicolon replaces the colon.
  return quoted(value === '' ? `${name};` : `${name}: ${value}`);
}
