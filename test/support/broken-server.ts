import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Fault, Variant } from './broken-server.faults.js';

const EFFECT_MS = 20;

const valuesOf = ({ rawHeaders }: IncomingMessage, name: string) =>
  rawHeaders.filter((_, i) => rawHeaders[i - 1]?.toLowerCase() === name && i % 2 === 1);

const sortDeep = (value: unknown): unknown =>
  value !== null && typeof value === 'object'
    ? Object.entries(value)
        .sort()
        .map(([name, member]) => [name, sortDeep(member)])
    : value;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Stored {
  fingerprint: string;
  status?: number;
  body?: string;
  repliedAt?: number;
  waiting: (() => void)[];
}

/** The keys and effects that two replicas share. */
export class World {
  /** @param keyLifetimeMs how long the servers keep a key */
  constructor(readonly keyLifetimeMs = Infinity) {}

  readonly made: { id: string }[] = [];
  readonly stored = new Map<string, Stored>();
}

interface Body {
  amount?: number;
  source?: string;
  /** How long the server waits between the effect and the reply. */
  after_ms?: number;
}

/** One server. Each method is one step of a request, and contains the faults of this step. */
class BrokenServer {
  private readonly stored: Map<string, Stored>;
  /** Number of requests that have arrived with a key, by key. `arrivals` emits an event for each of them. */
  private readonly requests = new Map<string, number>();
  private readonly arrivals = new EventEmitter();

  constructor(
    private readonly fault: Fault | Variant,
    private readonly world: World,
  ) {
    this.stored = this.is('keeps its keys in its own memory') ? new Map<string, Stored>() : world.stored;
  }

  private is(other: Fault | Variant): boolean {
    return this.fault === other;
  }

  /**
   * Makes the effect after a pause, as a query of a database would. If the client has hung up, the effect waits until the client
   * retries. Otherwise a busy machine would finish the effect before the retry, and a server that forgets requests in flight would look correct.
   */
  private async charge(body: Body, { socket }: IncomingMessage, name = '') {
    const { made } = this.world;
    const before = this.requests.get(name);
    await pause(EFFECT_MS);
    if (socket.destroyed && before !== undefined && this.requests.get(name) === before) await once(this.arrivals, name);
    if (socket.destroyed && this.is('cancels a request whose client hangs up')) return { status: 499, body: '{}' };
    if (body.source === 'declined') return { status: 402, body: '{"code":"card_declined"}' };
    const count = this.is('makes two resources for each request') ? 2 : 1;
    if (!this.is('makes one effect for all keys') || made.length === 0)
      for (let i = 0; i < count; i++) made.unshift({ id: `ch_${made.length + 1}` });
    const charge = { amount: Number(body.amount), ...(!this.is('replies without ids') && { id: made[0]?.id }) };
    if (body.after_ms) await pause(body.after_ms);
    const status = this.is('answers 201') ? 201 : 200;
    return { status, body: JSON.stringify(this.is('wraps every answer in data') ? { data: charge } : charge) };
  }

  private answer(response: ServerResponse, status: number, body: string, kind: 'first' | 'replay' = 'first'): void {
    const isMarked = kind === 'replay' || this.is('marks every reply as a replay');
    const name = this.is('marks replays with another header') ? 'x-idempotency-status' : 'idempotent-replayed';
    const mark = this.is('marks replays with another header') ? 'hit' : 'true';
    response.writeHead(status, {
      'content-type': 'application/json',
      ...(isMarked ? { [name]: mark } : this.is('says false on a first reply') && { [name]: 'false' }),
    });
    response.end(body);
  }

  private list(response: ServerResponse): void {
    const { made } = this.world;
    const list = this.is('wraps every answer in data') ? made : { data: made };
    const shown = this.is('lists a number instead of resources') ? { made: { total: made.length } } : list;
    this.answer(response, 200, JSON.stringify(shown));
  }

  /** The status of a request whose headers are refused. */
  private refusalOf(request: IncomingMessage, keys: string[]): number | undefined {
    if (this.is('requires its own media type') && request.headers['content-type'] !== 'application/vnd.api+json')
      return 415;
    if (keys.length === 0) return this.is('accepts a request without a key') ? undefined : 400;
    if (this.is('accepts malformed keys')) return undefined;
    const isQuotable = !this.is('treats a quoted key as another key');
    const key = isQuotable ? keys[0]?.replace(/^"(.*)"$/, '$1') : keys[0]?.replaceAll('"', '');
    const longest = this.is('accepts keys of 256 characters') ? 256 : 255;
    const isGood = keys.length === 1 && key !== undefined && /^[\x21\x23-\x7e]+$/.test(key) && key.length <= longest;
    if (!isGood) return this.is('answers 422 to a malformed key') ? 422 : 400;
    if (this.is('accepts quoted keys only') && !keys[0]?.startsWith('"')) return 400;
    if (this.is('accepts UUIDs only') && !/^[\da-f-]{36}$/.test(keys[0] ?? '')) return 400;
    return undefined;
  }

  private parse(raw: string): Body {
    return (this.is('takes forms') ? Object.fromEntries(new URLSearchParams(raw)) : JSON.parse(raw)) as Body;
  }

  private fingerprintOf(request: IncomingMessage, raw: string, body: Body): string {
    if (this.is('ignores the body')) return '';
    if (this.is('compares bodies byte by byte')) return raw;
    if (this.is('compares all headers')) return raw + request.rawHeaders.join();
    const sorted = this.is('compares nested values byte by byte') ? Object.entries(body).sort() : sortDeep(body);
    return JSON.stringify([this.is('ignores the path') ? '' : request.url, sorted]);
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'GET') return this.list(response);
    const keys = valuesOf(request, 'idempotency-key');
    const refusal = this.refusalOf(request, keys);
    if (refusal !== undefined) return this.answer(response, refusal, '{}');
    const key = this.is('treats a quoted key as another key') ? keys[0] : keys[0]?.replace(/^"(.*)"$/, '$1');
    const account = this.is('shares keys between accounts') ? '' : String(request.headers.authorization);
    let name = JSON.stringify([account, keys.length === 1 ? key : keys]);
    const isOpened = this.is('keeps a key whose body never arrived') && !this.stored.has(name);
    if (isOpened) this.stored.set(name, { fingerprint: 'none yet', waiting: [] });
    const raw = await text(request);
    const body = this.parse(raw);
    const isElsewhere = request.url !== '/charges';
    if (isElsewhere && !this.is('ignores the path')) return this.answer(response, 404, '{}');
    if (keys.length === 0 || this.is('ignores the key')) {
      const fresh = await this.charge(body, request);
      return this.answer(response, fresh.status, fresh.body);
    }
    const fingerprint = this.fingerprintOf(request, raw, body);
    if (this.is('treats another body as another key')) name += fingerprint;
    const isInvalid = Number(body.amount ?? 0) <= 0;
    if (isInvalid && this.is('accepts a corrected body without an effect')) {
      this.stored.set(name, { fingerprint: 'any', status: 200, body: '{}', waiting: [] });
    }
    if (isInvalid && !this.is('uses up the key of an invalid body')) return this.answer(response, 400, '{}');
    this.requests.set(name, (this.requests.get(name) ?? 0) + 1);
    this.arrivals.emit(name);
    const known = isOpened ? undefined : this.known(name);
    if (known) return this.answerDuplicate(request, response, known, { fingerprint, raw });
    if (isElsewhere) return this.answer(response, 404, '{}');
    await this.answerFirst(request, response, { name, fingerprint, body, isInvalid });
  }

  /** The record of a key that is in use. */
  private known(name: string): Stored | undefined {
    const known = this.stored.get(name);
    if (known?.status === undefined && this.is('runs again after a hang-up')) return undefined;
    if (!this.isExpired(known) || this.is('stays stuck after the expiry') || this.is('fails at the expiry'))
      return known;
    return undefined;
  }

  private isExpired(known: Stored | undefined): boolean {
    return known?.repliedAt !== undefined && Date.now() > known.repliedAt + this.world.keyLifetimeMs;
  }

  private async answerDuplicate(
    request: IncomingMessage,
    response: ServerResponse,
    first: Stored,
    { fingerprint, raw }: { fingerprint: string; raw: string },
  ): Promise<void> {
    if (first.fingerprint !== fingerprint && first.fingerprint !== 'any') {
      return this.answer(response, this.is('keeps a key whose body never arrived') ? 409 : 422, '{}');
    }
    if (this.isExpired(first))
      return this.answer(response, this.is('fails at the expiry') ? 500 : 409, '{"title":"expired"}');
    const isCancellable = this.is('cancels a request whose client hangs up') && first.status === undefined;
    if (isCancellable || this.is('answers 409 to every duplicate'))
      return this.answer(response, 409, '{"title":"in use"}');
    if (this.is('hangs up on a duplicate')) return void request.socket.destroy();
    if (this.is('echoes the request to a duplicate')) return this.answer(response, 200, raw, 'replay');
    if (this.is('never answers a duplicate at once') && first.status === undefined) return;
    if (first.status === undefined) await new Promise<void>((resolve) => first.waiting.push(resolve));
    if (this.is('computes a new answer to a duplicate')) {
      const changed = { ...(JSON.parse(first.body ?? '{}') as object), at: Math.random() };
      return this.answer(response, 200, JSON.stringify(changed), 'replay');
    }
    const status = this.is('replays a refusal with 200') ? 200 : (first.status ?? 0);
    this.answer(response, status, first.body ?? '', 'replay');
  }

  private async answerFirst(
    request: IncomingMessage,
    response: ServerResponse,
    { name, fingerprint, body, isInvalid }: { name: string; fingerprint: string; body: Body; isInvalid: boolean },
  ): Promise<void> {
    const isAgain = this.stored.has(name);
    const mine: Stored = { fingerprint, waiting: [] };
    const isRacy =
      this.is('checks, then acts') ||
      (this.is('races in one storm of four') && this.requests.size % 4 === 0) ||
      (this.is('claims an expired key without a lock') && isAgain);
    if (!isRacy && !this.is('stores the key after the effect')) this.stored.set(name, mine);
    if (isRacy) await new Promise((resolve) => setImmediate(resolve));
    if (this.is('cancels a request whose client hangs up')) {
      request.socket.once('close', () => mine.status === undefined && this.stored.delete(name));
    }
    const reply = isInvalid ? { status: 400, body: '{}' } : await this.charge(body, request, name);
    if (this.is('cancels a request whose client hangs up') && request.socket.destroyed) return;
    Object.assign(mine, reply, { repliedAt: Date.now() });
    this.stored.set(name, mine);
    if (reply.status === 402 && this.is('forgets refusals')) {
      this.stored.delete(name);
      mine.body = `{"code":"card_declined","at":${Math.random()}}`;
    }
    mine.waiting.forEach((resolve) => resolve());
    this.answer(response, reply.status, mine.body ?? '');
  }
}

/**
 * Starts a server with idempotency keys in memory whose visible behaviour is correct except for one fault. The tests with `none`
 * and with the variants prove that the server is correct without a fault.
 *
 * @param world the keys and effects that this server shares with another replica
 */
export async function startBrokenServer(
  fault: Fault | Variant,
  world = new World(),
): Promise<{ url: string; stop(): Promise<void> }> {
  const broken = new BrokenServer(fault, world);
  const server = createServer(
    (request, response) =>
      void broken.handle(request, response).catch(() => {
        // A client that has gone has not sent its whole body.
        if (!response.destroyed) response.writeHead(500).end('{}');
      }),
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
