import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';

/** Longer than the service waits for the database, so that the service answers before the client gives up. */
const ATTEMPT_TIMEOUT_MS = 20_000;
/** The pause between two attempts. Shorter than any outage, so that the pause does not lengthen the outage that is measured. */
const RETRY_PAUSE_MS = 50;
/** Time in which every request that has begun must be acknowledged. Longer than any outage from which a suite expects to recover. */
const PATIENCE_MS = 90_000;
/** Statuses of replies that are final and that the requests of this load can get: a success, and a declined card. */
const FINAL = [200, 402];

/** The stock of the item of a load: more than its orders take. */
export const STOCK = 1_000_000;

export interface LoadAccount {
  id: string;
  secret: string;
}

/** The reply that acknowledged a request. */
export interface Acknowledgement {
  accountId: string;
  /** The idempotency key. The effect of the request contains it too: as the description of a charge, or as the id of an order. */
  key: string;
  path: '/charges' | '/orders';
  status: number;
  /** The body of the reply, as the client received it. */
  body: string;
  /** The time of the reply, by `performance.now()`. */
  atMs: number;
}

export interface LoadOptions {
  /** URLs of the replicas, or of proxies in front of them. Every attempt goes to the next URL. */
  urls: readonly string[];
  accounts: readonly LoadAccount[];
  /** Number of requests that are under way at any time. */
  clients: number;
}

/** The parts of a request that every attempt repeats. */
interface LoadRequest extends Pick<Acknowledgement, 'key' | 'path'> {
  account: LoadAccount;
  /** The body of the request. */
  sent: string;
}

/**
 * Clients that send charges and orders, each until it is acknowledged, one after the other. Every fourth request is an order, and every
 * eighth is a charge that the bank declines.
 */
export class Load {
  /** In the order in which the replies arrived. */
  readonly acknowledgements: Acknowledgement[] = [];
  /** Every other answer that clients got, such as `503 database_unavailable`, and how often. */
  readonly refusals = new Map<string, number>();
  /** The item that the orders of this load take, which no other load takes. */
  readonly item = `item_${randomUUID().slice(0, 8)}`;
  private isStopping = false;
  private deadlineMs = Infinity;
  private attempts = 0;
  private working: Promise<unknown> = Promise.resolve();

  private constructor(private readonly options: LoadOptions) {}

  /** Starts the clients, after the stock of each account has been set. */
  static async start(options: LoadOptions): Promise<Load> {
    const load = new Load(options);
    for (const account of options.accounts) await load.setStock(account);
    load.working = Promise.all(Array.from({ length: options.clients }, (_, i) => load.work(i)));
    // `stop` reports the error. Without this handler it would end the process before.
    load.working.catch(() => undefined);
    return load;
  }

  /**
   * Ends the load as soon as every request that has begun is acknowledged.
   *
   * @throws Error if a request is not acknowledged in {@link PATIENCE_MS}, with everything that clients got instead
   */
  async stop(): Promise<void> {
    this.isStopping = true;
    this.deadlineMs = performance.now() + PATIENCE_MS;
    await this.working;
  }

  /** Resolves as soon as this number of requests has been acknowledged, counted from now. Rejects as {@link Load.stop} does. */
  async acknowledges(count: number): Promise<void> {
    const enough = this.acknowledgements.length + count;
    for (const deadlineMs = performance.now() + PATIENCE_MS; this.acknowledgements.length < enough;) {
      if (performance.now() > deadlineMs) throw this.tooLate(`${count} further requests`);
      await pause(RETRY_PAUSE_MS);
    }
  }

  /** The answers after which clients have retried, in one line. */
  retries(): string {
    return [...this.refusals].map(([reason, count]) => `${count} x ${reason}`).join(', ') || 'nothing';
  }

  /**
   * The longest time without an acknowledgement, in milliseconds, since a point in time.
   *
   * @param sinceMs by `performance.now()`
   */
  longestGapMs(sinceMs: number): number {
    const times = this.acknowledgements.map(({ atMs }) => atMs).filter((atMs) => atMs > sinceMs);
    return longestGap([sinceMs, ...times, performance.now()]);
  }

  private async work(client: number): Promise<void> {
    const { accounts } = this.options;
    const account = accounts[client % accounts.length];
    if (!account) throw new Error('A load needs at least one account');
    for (let made = 0; !this.isStopping; made++) {
      const request = this.request(account, `${this.item}-${client}-${made}`, made);
      const reply = await this.sendUntilFinal(request);
      const { key, path } = request;
      this.acknowledgements.push({ accountId: account.id, key, path, ...reply, atMs: performance.now() });
    }
  }

  private request(account: LoadAccount, key: string, made: number): LoadRequest {
    if (made % 4 === 3) {
      const items = [{ item_id: this.item, quantity: 1, unit_amount: 250 }];
      return { account, key, path: '/orders', sent: JSON.stringify({ order_id: key, items }) };
    }
    const source = made % 8 === 1 ? 'tok_chargeDeclined' : 'tok_visa';
    const charge = { amount: 1 + (made % 9_999), currency: 'eur', source, description: key };
    return { account, key, path: '/charges', sent: JSON.stringify(charge) };
  }

  private async sendUntilFinal({ account, key, path, sent }: LoadRequest): Promise<{ status: number; body: string }> {
    for (;;) {
      const reply = await this.send('POST', path, account, sent, { 'idempotency-key': key });
      if (reply && FINAL.includes(reply.status)) return reply;
      if (performance.now() > this.deadlineMs) throw this.tooLate(key);
      await pause(RETRY_PAUSE_MS);
    }
  }

  /** The requests of this load are the only ones that take the item, so it is safe to repeat this before the first of them. */
  private async setStock(account: LoadAccount): Promise<void> {
    const deadlineMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const reply = await this.send('PUT', `/inventory/${this.item}`, account, JSON.stringify({ stock: STOCK }));
      if (reply && reply.status < 300) return;
      if (performance.now() > deadlineMs) throw this.tooLate('the stock');
      await pause(RETRY_PAUSE_MS);
    }
  }

  /** @returns undefined if no complete reply arrived */
  private async send(
    method: string,
    path: string,
    { secret }: LoadAccount,
    body: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: string } | undefined> {
    const { urls } = this.options;
    const url = `${urls[this.attempts++ % urls.length]}${path}`;
    try {
      const response = await fetch(url, {
        method,
        headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json', ...headers },
        body,
        signal: AbortSignal.timeout(ATTEMPT_TIMEOUT_MS),
      });
      const reply = { status: response.status, body: await response.text() };
      if (!response.ok && !FINAL.includes(reply.status)) this.refuse(`${reply.status} ${codeOf(reply.body)}`);
      return reply;
    } catch (error) {
      this.refuse(reasonOf(error as Error));
      return undefined;
    }
  }

  private refuse(reason: string): void {
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
  }

  private tooLate(what: string): Error {
    return new Error(`${what} not acknowledged within ${PATIENCE_MS / 1000} s; clients retried ${this.retries()}`);
  }
}

/** The longest distance between two neighbours of an ascending list. */
export const longestGap = (times: readonly number[]): number =>
  times.reduce((longest, time, i) => Math.max(longest, time - (times[i - 1] ?? time)), 0);

/** The code of a problem, or the beginning of a body that is not a problem. */
function codeOf(body: string): string {
  try {
    return String((JSON.parse(body) as { code?: unknown }).code);
  } catch {
    return body.slice(0, 60).replace(/\s+/g, ' ');
  }
}

/** fetch hides the reason, such as ECONNREFUSED, in the cause of its error. */
const reasonOf = ({ name, message, cause }: Error) =>
  (cause as { code?: string } | undefined)?.code ?? `${name}: ${message}`;
