import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** The one mistake of a broken server. */
export type Fault =
  | 'none'
  | 'ignores the key'
  | 'checks, then acts'
  | 'computes a new answer to a duplicate'
  | 'stores the key after the effect'
  | 'ignores the body'
  | 'compares bodies byte by byte'
  | 'compares nested values byte by byte'
  | 'shares keys between accounts'
  | 'answers 409 to every duplicate'
  | 'uses up the key of an invalid body'
  | 'forgets refusals'
  | 'replays a refusal with 200'
  | 'accepts a request without a key'
  | 'accepts malformed keys'
  | 'marks every reply as a replay'
  | 'runs again after a hang-up'
  | 'makes one effect for all keys'
  | 'treats a quoted key as another key'
  | 'never answers a duplicate at once'
  | 'hangs up on a duplicate';

/** Behaviour that differs from the default of the server and is correct as well. */
export type Variant =
  | 'accepts quoted keys only'
  | 'accepts UUIDs only'
  | 'requires its own media type'
  | 'lists a number instead of resources'
  | 'wraps every answer in data'
  | 'replies without ids';

const EFFECT_MS = 20;

const valuesOf = ({ rawHeaders }: IncomingMessage, name: string) =>
  rawHeaders.filter((_, i) => rawHeaders[i - 1]?.toLowerCase() === name && i % 2 === 1);

const sortDeep = (value: unknown): unknown =>
  value !== null && typeof value === 'object'
    ? Object.entries(value)
        .sort()
        .map(([name, member]) => [name, sortDeep(member)])
    : value;

interface Stored {
  fingerprint: string;
  status?: number;
  body?: string;
  waiting: (() => void)[];
}

/**
 * Starts a server with idempotency keys in memory whose visible behaviour is correct except for one fault. The tests with `none`
 * and with the variants prove that the server is correct without a fault.
 */
export async function startBrokenServer(fault: Fault | Variant): Promise<{ url: string; stop(): Promise<void> }> {
  const stored = new Map<string, Stored>();
  const made: { id: string }[] = [];
  const is = (other: Fault | Variant) => fault === other;

  /** Number of requests that have arrived with a key, by key. `arrivals` emits an event for each of them. */
  const requests = new Map<string, number>();
  const arrivals = new EventEmitter();
  /**
   * Makes the effect after a pause, as a query of a database would. If the client has hung up, the effect waits until the client
   * retries. Otherwise a busy machine would finish the effect before the retry, and a server that forgets requests in flight would look correct.
   */
  const charge = async (body: { amount?: number; source?: string }, { socket }: IncomingMessage, name = '') => {
    const before = requests.get(name);
    await new Promise((resolve) => setTimeout(resolve, EFFECT_MS));
    if (socket.destroyed && before !== undefined && requests.get(name) === before) await once(arrivals, name);
    if (body.source === 'declined') return { status: 402, body: '{"code":"card_declined"}' };
    if (!is('makes one effect for all keys') || made.length === 0) made.unshift({ id: `ch_${made.length + 1}` });
    const charge = { amount: body.amount, ...(!is('replies without ids') && { id: made[0]?.id }) };
    return { status: 200, body: JSON.stringify(is('wraps every answer in data') ? { data: charge } : charge) };
  };

  const answer = (response: ServerResponse, status: number, body: string, isReplay = false) => {
    const marked = isReplay || is('marks every reply as a replay');
    response.writeHead(status, {
      'content-type': 'application/json',
      ...(marked && { 'idempotent-replayed': 'true' }),
    });
    response.end(body);
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<unknown> => {
    if (request.method === 'GET') {
      const list = is('wraps every answer in data') ? made : { data: made };
      return answer(
        response,
        200,
        JSON.stringify(is('lists a number instead of resources') ? { made: { total: made.length } } : list),
      );
    }
    const raw = await text(request);
    const keys = valuesOf(request, 'idempotency-key');
    const body = JSON.parse(raw) as { amount?: number; source?: string };
    if (keys.length === 0 && !is('accepts a request without a key')) return answer(response, 400, '{}');
    const key = is('treats a quoted key as another key') ? keys[0] : keys[0]?.replace(/^"(.*)"$/, '$1');
    const isGood =
      keys.length === 1 &&
      key !== undefined &&
      /^[\x21\x23-\x7e]{1,255}$/.test(key.replaceAll('"', is('treats a quoted key as another key') ? '' : '"'));
    if (is('accepts quoted keys only') && !keys[0]?.startsWith('"')) return answer(response, 400, '{}');
    if (is('requires its own media type') && valuesOf(request, 'content-type').join() !== 'application/vnd.api+json')
      return answer(response, 415, '{}');
    if (is('accepts UUIDs only') && !/^[\da-f-]{36}$/.test(keys[0] ?? '')) return answer(response, 400, '{}');
    if (keys.length > 0 && !isGood && !is('accepts malformed keys')) return answer(response, 400, '{}');
    if (keys.length === 0 || is('ignores the key')) {
      const fresh = await charge(body, request);
      return answer(response, fresh.status, fresh.body);
    }
    const account = is('shares keys between accounts') ? '' : String(request.headers.authorization);
    const name = JSON.stringify([account, keys.length === 1 ? key : keys]);
    const sorted = JSON.stringify(
      is('compares nested values byte by byte') ? Object.entries(body).sort() : sortDeep(body),
    );
    const fingerprint = is('ignores the body') ? '' : is('compares bodies byte by byte') ? raw : sorted;
    const isInvalid = (body.amount ?? 0) <= 0;
    if (isInvalid && !is('uses up the key of an invalid body')) return answer(response, 400, '{}');

    requests.set(name, (requests.get(name) ?? 0) + 1);
    arrivals.emit(name);
    let known = stored.get(name);
    if (known && known.fingerprint !== fingerprint) return answer(response, 422, '{}');
    if (known && is('answers 409 to every duplicate')) return answer(response, 409, '{}');
    if (known && known.status === undefined && is('runs again after a hang-up')) known = undefined;
    if (known) {
      const first = known;
      if (is('hangs up on a duplicate')) return request.socket.destroy();
      if (is('never answers a duplicate at once') && first.status === undefined) return;
      if (first.status === undefined) await new Promise<void>((resolve) => first.waiting.push(resolve));
      if (is('computes a new answer to a duplicate'))
        return answer(
          response,
          200,
          JSON.stringify({ ...(JSON.parse(first.body ?? '{}') as object), at: Math.random() }),
          true,
        );
      const status = is('replays a refusal with 200') ? 200 : (first.status ?? 0);
      return answer(response, status, first.body ?? '', true);
    }
    const mine: Stored = { fingerprint, waiting: [] };
    if (!is('checks, then acts') && !is('stores the key after the effect')) stored.set(name, mine);
    if (is('checks, then acts')) await new Promise((resolve) => setImmediate(resolve));
    const reply = isInvalid ? { status: 400, body: '{}' } : await charge(body, request, name);
    Object.assign(mine, reply);
    stored.set(name, mine);
    if (reply.status === 402 && is('forgets refusals')) {
      stored.delete(name);
      mine.body = `{"code":"card_declined","at":${Math.random()}}`;
    }
    mine.waiting.forEach((resolve) => resolve());
    answer(response, reply.status, mine.body ?? '');
  };

  const server = createServer(
    (request, response) => void handle(request, response).catch(() => answer(response, 500, '{}')),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
