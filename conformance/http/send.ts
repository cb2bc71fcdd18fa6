import { createHash, randomUUID } from 'node:crypto';
import type { Profile } from '../profiles.js';
import type { Target } from '../target.js';
import { type Answer, exchange, open, type SentRequest } from './exchange.js';

/** How one request differs from the others. */
export interface Attempt {
  /** The value of the key header; several values send the header several times; undefined sends no key. */
  readonly key?: string | readonly string[];
  readonly body?: string;
  /** Another path than the path of the operation. */
  readonly path?: string;
  /** The URL of another replica. */
  readonly url?: string;
  /** Headers that replace the headers of the target with the same names. */
  readonly headers?: readonly string[];
  readonly account?: SentRequest['account'];
}

/** A key that was never used before: a UUID, because some services accept nothing else. */
export const freshKey = ({ quotesKeys }: Profile) => (quotesKeys ? `"${randomUUID()}"` : randomUUID());

export const send = (target: Target, attempt: Attempt): Promise<Answer> =>
  exchange(requestOf(target, attempt), target.timeoutMs);

/** Reads a path of the service. The request has no effect. */
export const get = (target: Target, path: string): Promise<Answer> => {
  const url = new URL(path, target.url).href;
  return exchange({ method: 'GET', url, headers: target.headers, body: '', account: 'first' }, target.timeoutMs);
};

/** When a client hangs up. */
export type Moment =
  | { readonly kind: 'before the whole body was sent' }
  | { readonly kind: 'after'; readonly ms: number }
  | { readonly kind: 'when'; readonly happens: (signal: AbortSignal) => Promise<unknown> };

/**
 * Sends a request and closes the connection at the given moment, as a client does whose own timeout has expired.
 *
 * @returns whether the connection was closed before an answer arrived
 */
export function sendAndHangUp(target: Target, attempt: Attempt, moment: Moment): Promise<boolean> {
  const request = requestOf(target, attempt);
  return new Promise((resolve) => {
    let isAnswered = false;
    const over = new AbortController();
    const outgoing = open(request, target.timeoutMs, (incoming) => {
      isAnswered = true;
      incoming.resume().on('error', () => undefined);
    });
    outgoing.on('error', () => undefined);
    outgoing.on('close', () => {
      over.abort();
      resolve(!isAnswered);
    });
    const hangUp = () => outgoing.destroy();
    if (moment.kind === 'before the whole body was sent') {
      // The callback of write runs when the bytes have been given to the system, so the service receives them.
      outgoing.write(request.body.slice(0, Math.floor(request.body.length / 2)), () => setImmediate(hangUp));
      return;
    }
    outgoing.end(request.body, () => {
      if (moment.kind === 'after') setTimeout(hangUp, moment.ms);
      else void moment.happens(over.signal).finally(hangUp);
    });
  });
}

/** Builds the request of an attempt. */
export function requestOf(target: Target, attempt: Attempt): SentRequest {
  const { key, body: template = target.body, account = 'first', headers: more = [] } = attempt;
  const word = wordOf(key);
  const body = template.replaceAll('{{unique}}', word);
  const path = (attempt.path ?? target.path).replaceAll('{{unique}}', word);
  const others = account === 'other' ? (target.otherHeaders ?? []) : [];
  const own = [...without(without(target.headers, others), more), ...without(others, more), ...more];
  const keys = (key === undefined ? [] : [key].flat()).flatMap((value) => [target.keyHeader, value]);
  const content =
    body === '' ? [] : ['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))];
  return {
    method: target.method,
    url: new URL(path, attempt.url ?? target.url).href,
    headers: [...without(content, own), ...own, ...keys],
    body,
    account,
  };
}

/** The word that replaces `{{unique}}`. It is derived from the key without its quotes, so duplicates are equal. Each request without a key gets a new word. */
const wordOf = (key: Attempt['key'] = randomUUID()): string =>
  createHash('sha256').update(String(key).replaceAll('"', '')).digest('hex').slice(0, 16);

/** The headers whose names do not occur in `others`. */
function without(headers: readonly string[], others: readonly string[]): string[] {
  const names = new Set(others.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase()));
  return headers.filter((_, i) => !names.has((headers[i - (i % 2)] ?? '').toLowerCase()));
}
