import { createHash, randomUUID } from 'node:crypto';
import * as http from 'node:http';
import * as https from 'node:https';
import { text } from 'node:stream/consumers';
import type { Profile } from './profiles.js';

/** The operation that is checked, and how its effects can be observed. */
export interface Target {
  /** The URL of the service, without a path. */
  readonly url: string;
  readonly method: string;
  readonly path: string;
  /** Alternating names and values of headers, such as credentials. */
  readonly headers: readonly string[];
  /** Credentials of another account. They replace the headers with the same names. */
  readonly otherHeaders?: readonly string[];
  readonly keyHeader: string;
  /** A valid JSON body. `{{unique}}`, in this body and the others, becomes a different word for each key. */
  readonly body: string;
  /** Another valid body. */
  readonly otherBody: string;
  /** A body that validation refuses. */
  readonly invalidBody?: string;
  /** A body whose reply is a final refusal, such as a declined card. */
  readonly refusedBody?: string;
  /** The statuses of a success. */
  readonly success: readonly number[];
  /** The member of a reply that contains the id of the created resource, such as `id` or `data.id`. */
  readonly id: string;
  /** The path that lists or counts the created resources, and the member of its answer that is the list (newest first) or the number. */
  readonly effects?: { readonly path: string; readonly member: string };
  /** The longest time that an answer may take. */
  readonly timeoutMs: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** How one request differs from the others. */
export interface Attempt {
  /** The value of the key header; several values send the header several times; undefined sends no key. */
  readonly key?: string | readonly string[];
  readonly body?: string;
  readonly asOther?: boolean;
}

/** The service cannot be checked, because it does not answer or does not list its effects as the options say. */
export class TargetError extends Error {}

/** A request was not answered, because the service cannot be reached or is stuck. */
export class NoAnswer extends TargetError {}

/** A key that was never used before: a UUID, because some services accept nothing else. */
export const freshKey = ({ quotesKeys }: Profile) => (quotesKeys ? `"${randomUUID()}"` : randomUUID());

export function send(target: Target, { key, body: template = target.body, asOther = false }: Attempt): Promise<Answer> {
  const body = fill(template, key);
  return exchange(target, target.method, target.path, headersOf(target, key, body, asOther), body);
}

/** Replaces `{{unique}}`. The word is derived from the key without its quotes, so that duplicates have equal bodies. Each request without a key gets a new word. */
function fill(template: string, key: Attempt['key'] = randomUUID()): string {
  const bare = String(key).replaceAll('"', '');
  return template.replaceAll('{{unique}}', createHash('sha256').update(bare).digest('hex').slice(0, 16));
}

/** Sends a request and closes the connection as soon as the request has been written, as a client does whose own timeout has expired. */
export function sendAndHangUp(target: Target, key: string): Promise<void> {
  const body = fill(target.body, key);
  return new Promise((resolve) => {
    const request = open(target, target.method, target.path, headersOf(target, key, body, false), () => undefined);
    request.on('error', () => undefined);
    request.on('close', () => resolve());
    request.end(body, () => setImmediate(() => request.destroy()));
  });
}

/**
 * Checks that the service answers at all. The request has no effect.
 *
 * @throws NoAnswer if the service cannot be reached, or does not answer within `timeoutMs`
 */
export async function reach(target: Target): Promise<void> {
  await exchange(target, 'GET', target.effects?.path ?? target.path, hostAnd(target, [...target.headers]));
}

/** The number or the ids of the created resources; `undefined` if the options do not say where to read them. */
export async function effectsOf(target: Target): Promise<number | readonly string[] | undefined> {
  const { effects } = target;
  if (!effects) return undefined;
  const answer = await exchange(target, 'GET', effects.path, hostAnd(target, [...target.headers]));
  const made = memberOf(parse(answer.text), effects.member);
  if (typeof made === 'number') return made;
  // In a reply the id may be nested, such as `data.id`. In a list each element has it directly.
  const name = target.id.split('.').at(-1) ?? '';
  const ids = Array.isArray(made) ? made.map((one: unknown) => nameOf(memberOf(one, name))) : [undefined];
  if (ids.every((id) => id !== undefined)) return ids;
  throw new TargetError(
    `GET ${effects.path} answers ${answer.status} without a number or a list named ${effects.member} whose elements have ${name}: see --effects, --effects-list and --id`,
  );
}

/** The id of the created resource; `undefined` if the reply contains none. */
export const idOf = (target: Target, answer: Answer) => nameOf(memberOf(parse(answer.text), target.id));

const nameOf = (id: unknown) => (typeof id === 'string' || typeof id === 'number' ? String(id) : undefined);

/** @param path names of nested members, separated by dots; '' for the value itself */
const memberOf = (value: unknown, path: string): unknown =>
  path
    .split('.')
    .reduce((whole, name) => (name === '' ? whole : (whole as Record<string, unknown> | null)?.[name]), value);

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function exchange(target: Target, method: string, path: string, headers: string[], body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(new NoAnswer(`${target.url} does not answer: ${error.message}`));
    const request = open(target, method, path, headers, (incoming) => {
      text(incoming).then(
        (received) => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text: received }),
        fail,
      );
    });
    request.on('error', fail);
    request.end(body);
  });
}

function open(
  target: Target,
  method: string,
  path: string,
  headers: string[],
  onResponse: (incoming: http.IncomingMessage) => void,
): http.ClientRequest {
  const url = new URL(path, target.url);
  // Each request has a connection of its own, so that requests that are sent at once really arrive at once.
  const options = { method, headers, agent: false, timeout: target.timeoutMs };
  const request = (url.protocol === 'https:' ? https : http).request(url, options, onResponse);
  request.on('timeout', () => request.destroy(new Error(`no answer in ${target.timeoutMs} ms`)));
  return request;
}

function headersOf(target: Target, key: Attempt['key'], body: string, asOther: boolean): string[] {
  const others = asOther ? (target.otherHeaders ?? []) : [];
  const own = [...without(target.headers, others), ...others];
  const keys = (key === undefined ? [] : [key].flat()).flatMap((value) => [target.keyHeader, value]);
  const content = ['Content-Type', 'application/json', 'Content-Length', String(Buffer.byteLength(body))];
  return hostAnd(target, [...without(content, own), ...own, ...keys]);
}

/** The headers whose names do not occur in `others`. */
function without(headers: readonly string[], others: readonly string[]): string[] {
  const names = new Set(others.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase()));
  return headers.filter((_, i) => !names.has((headers[i - (i % 2)] ?? '').toLowerCase()));
}

// Node sends an array of headers unchanged, so a header can be sent twice, and Host and Connection have to be added here.
const hostAnd = (target: Target, headers: string[]) => [
  ...without(['Host', new URL(target.url).host, 'Connection', 'close'], headers),
  ...headers,
];
