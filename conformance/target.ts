import { createHash, randomUUID } from 'node:crypto';
import * as http from 'node:http';
import * as https from 'node:https';
import { text } from 'node:stream/consumers';
import type { Profile } from './profiles.js';

/** What is checked: one operation of a service, and how its effects can be seen. */
export interface Target {
  /** Of the service, without a path. */
  readonly url: string;
  readonly method: string;
  readonly path: string;
  /** Names and values in turn, such as credentials. */
  readonly headers: readonly string[];
  /** Credentials of somebody else, in place of those headers that have the same names. */
  readonly otherHeaders?: readonly string[];
  readonly keyHeader: string;
  /** A valid body, JSON. `{{unique}}`, here as in the others, becomes another word for each key. */
  readonly body: string;
  /** Another valid body. */
  readonly otherBody: string;
  /** A body that validation refuses. */
  readonly invalidBody?: string;
  /** A body whose reply is a final refusal, such as a declined card. */
  readonly refusedBody?: string;
  /** Statuses of a success. */
  readonly success: readonly number[];
  /** The member of a reply that names what was made; of a member, `data.id`. */
  readonly id: string;
  /** Where to read what was made: a path, and the member of its answer that is the list, the newest first, or the number. */
  readonly effects?: { readonly path: string; readonly member: string };
  /** Milliseconds an answer may take. */
  readonly timeoutMs: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** How one attempt differs from the usual. */
export interface Attempt {
  /** The value of the key header; several for one that is sent more than once; none to leave it out. */
  readonly key?: string | readonly string[];
  readonly body?: string;
  readonly asOther?: boolean;
}

/** The service cannot be checked: it cannot be reached, or does not show its effects where it was said to. */
export class TargetError extends Error {}

/** A request that is never answered: a service that cannot be reached, or one that got stuck. */
export class NoAnswer extends TargetError {}

/** A key that was never used before: a UUID, which is all that some services take. */
export const freshKey = ({ quotesKeys }: Profile) => (quotesKeys ? `"${randomUUID()}"` : randomUUID());

export function send(target: Target, { key, body: template = target.body, asOther = false }: Attempt): Promise<Answer> {
  const body = fill(template, key);
  return exchange(target, target.method, target.path, headersOf(target, key, body, asOther), body);
}

/** The same for one key in every spelling, so that its duplicates are duplicates; for requests without one, never the same. */
function fill(template: string, key: Attempt['key'] = randomUUID()): string {
  const bare = String(key).replaceAll('"', '');
  return template.replaceAll('{{unique}}', createHash('sha256').update(bare).digest('hex').slice(0, 16));
}

/** Sends a request and hangs up as soon as it is on its way, as a client does whose own time is up. */
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
 * Sends a request that has no effect. Any answer will do.
 *
 * @throws NoAnswer when there is none
 */
export async function reach(target: Target): Promise<void> {
  await exchange(target, 'GET', target.effects?.path ?? target.path, hostAnd(target, [...target.headers]));
}

/** How many were made, or the ids of those that are listed; `undefined` when nobody said where to read that. */
export async function effectsOf(target: Target): Promise<number | readonly string[] | undefined> {
  const { effects } = target;
  if (!effects) return undefined;
  const answer = await exchange(target, 'GET', effects.path, hostAnd(target, [...target.headers]));
  const made = memberOf(parse(answer.text), effects.member);
  if (typeof made === 'number') return made;
  // Where the reply has the id further in, each of a list has it right there.
  const name = target.id.split('.').at(-1) ?? '';
  const ids = Array.isArray(made) ? made.map((one: unknown) => nameOf(memberOf(one, name))) : [undefined];
  if (ids.every((id) => id !== undefined)) return ids;
  throw new TargetError(
    `GET ${effects.path} answers ${answer.status} without a number or a list named ${effects.member}, each with its ${name}: see --effects, --effects-list and --id`,
  );
}

/** What a reply names as made; `undefined` for a reply that names nothing. */
export const idOf = (target: Target, answer: Answer) => nameOf(memberOf(parse(answer.text), target.id));

const nameOf = (id: unknown) => (typeof id === 'string' || typeof id === 'number' ? String(id) : undefined);

/** @param path names of members, each within the one before, with dots; '' for the value itself */
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
  // A connection for each request, so that those sent at once are really on their way at once.
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

/** Headers but for those whose names are among others. */
function without(headers: readonly string[], others: readonly string[]): string[] {
  const names = new Set(others.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase()));
  return headers.filter((_, i) => !names.has((headers[i - (i % 2)] ?? '').toLowerCase()));
}

// An array of headers is sent as it is, so that Node adds none and joins none.
const hostAnd = (target: Target, headers: string[]) => [
  ...without(['Host', new URL(target.url).host, 'Connection', 'close'], headers),
  ...headers,
];
