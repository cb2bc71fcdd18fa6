import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { canonical, type Form, formOf } from './form.js';
import { IdempotencyLayer } from './idempotency-layer.js';
import { type Card, PaymentIntents } from './payment-intents.js';
import { Refunds } from './refunds.js';
import { missing, type StripeAnswer, StripeRefusal } from './stripe-errors.js';

export type StripeOperation = 'create' | 'confirm' | 'cancel' | 'retrieve' | 'list' | 'refund' | 'list refunds';

/** How a request fails. The faults are in the order in which a request passes them. */
export type StripeFault =
  /** The request is delayed in the network. */
  | { kind: 'delays the request'; until: () => Promise<void> }
  | { kind: 'loses the request' }
  /** Answers before the idempotency key is looked at. */
  | { kind: 'answers'; answer: StripeAnswer }
  /** Answers 500 before the request takes effect. The idempotency key gets this answer again. */
  | { kind: 'fails before' }
  /** Decides a confirmation in this way, for every card. */
  | { kind: 'decides'; card: Card }
  /** Makes a refund that stays pending until `refunds.decidePending`. The idempotency key gets the pending refund again. */
  | { kind: 'leaves pending' }
  /** Executes the request and keeps the answer back, so that the idempotency key is in use. */
  | { kind: 'answers late'; until: () => Promise<void> }
  /** Executes the request, then answers 500. The idempotency key gets this answer again. */
  | { kind: 'fails after' }
  /** Executes the request, then cuts the connection. */
  | { kind: 'loses the answer' };

/** A request that arrived, in the order of arrival. */
export interface StripeRequest {
  operation: StripeOperation | undefined;
  path: string;
  key: string | undefined;
  form: Form;
}

export interface FakeStripeOptions {
  /** The only API key that is accepted. */
  apiKey: string;
  /** The life of an idempotency key. Stripe keeps a key for at least 24 hours. */
  keyLifeMs?: number;
  /** The percentage of answers, chosen at random, that are lost after the request took effect. */
  losePercent?: number;
  port?: number;
}

const DAY_MS = 86_400_000;

const answerOf = (status: number, error: object): StripeAnswer => ({ status, body: { error } });
const FAILURE = answerOf(500, { type: 'api_error', message: 'An error occurred.' });
/** Answers that do not depend on the request. */
export const FORBIDDEN = answerOf(403, { type: 'invalid_request_error', message: 'The key lacks the permission.' });
export const OVERLOADED = answerOf(503, { type: 'api_error', message: 'Stripe is overloaded.' });
export const RATE_LIMITED = answerOf(429, {
  type: 'invalid_request_error',
  code: 'rate_limit',
  message: 'Too many requests.',
});
/**
 * A stateful substitute for Stripe: PaymentIntents, refunds and idempotency keys, as far as this service uses them.
 *
 * It follows Stripe's documentation. It was never compared with the real Stripe.
 */
export class FakeStripe {
  readonly requests: StripeRequest[] = [];
  readonly intents = new PaymentIntents(() => this.now());
  readonly refunds = new Refunds(this.intents, () => this.now());
  private readonly keys: IdempotencyLayer;
  private readonly faults = new Map<StripeOperation, StripeFault[]>();
  private readonly server: Server;
  /** The time that {@link passTime} has added to the clock. */
  private passedMs = 0;

  private constructor(private readonly options: FakeStripeOptions) {
    this.keys = new IdempotencyLayer(options.keyLifeMs ?? DAY_MS, () => this.now());
    this.server = createServer((request, response) => {
      this.serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(options: FakeStripeOptions): Promise<FakeStripe> {
    const stripe = new FakeStripe(options);
    await new Promise<void>((resolve) => stripe.server.listen(options.port ?? 0, '127.0.0.1', resolve));
    return stripe;
  }

  /** For `STRIPE_API_BASE`. */
  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Applies faults to the next requests of an operation, one to each. The SDK repeats a request whose connection is cut, once. */
  breakNext(operation: StripeOperation, ...faults: StripeFault[]): void {
    this.faults.set(operation, [...(this.faults.get(operation) ?? []), ...faults]);
  }

  /** Sets the clock of Stripe forward. */
  passTime(ms: number): void {
    this.passedMs += ms;
  }

  /** The operations that arrived, in order. */
  get operations(): (StripeOperation | undefined)[] {
    return this.requests.map(({ operation }) => operation);
  }

  /** How often money was taken for a charge of the service. */
  capturesOf(chargeId: string): number {
    return this.intents.captured.filter(({ metadata }) => metadata['charge_id'] === chargeId).length;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }

  private now(): number {
    return Date.now() + this.passedMs;
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', headers } = request;
    const { pathname, searchParams } = new URL(request.url ?? '', this.url);
    const form = method === 'POST' ? formOf(await text(request)) : formOf(searchParams.toString());
    const [operation, id] = operationOf(method, pathname);
    const key = headers['idempotency-key'] as string | undefined;
    this.requests.push({ operation, path: pathname, key, form });
    const fault = operation && this.faults.get(operation)?.shift();

    if (fault?.kind === 'delays the request') await fault.until();
    if (fault?.kind === 'loses the request') return void response.destroy();
    const execute = async (): Promise<StripeAnswer> => {
      if (fault?.kind === 'fails before') return FAILURE;
      const answer = this.execute(operation, id, form, fault);
      if (fault?.kind === 'answers late') await fault.until();
      return fault?.kind === 'fails after' ? FAILURE : answer;
    };
    try {
      this.admit(headers.authorization);
      if (fault?.kind === 'answers') return send(response, fault.answer, false);
      const { answer, isReplayed } =
        method === 'POST' && key
          ? await this.keys.answer(key, `${method} ${pathname} ${canonical(form)}`, execute)
          : { answer: await execute(), isReplayed: false };
      const isLost = Math.random() * 100 < (this.options.losePercent ?? 0);
      if (isLost || fault?.kind === 'loses the answer') return void response.destroy();
      send(response, answer, isReplayed);
    } catch (error) {
      if (!(error instanceof StripeRefusal)) throw error;
      send(response, error.answer, false);
    }
  }

  /** As Stripe does, the refusal quotes a part of the key. */
  private admit(authorization = ''): void {
    const key = authorization.replace(/^Bearer /, '');
    if (key === this.options.apiKey) return;
    throw new StripeRefusal(401, { type: 'invalid_request_error', message: `Invalid API Key provided: ${key}` });
  }

  private execute(operation: StripeOperation | undefined, id: string, form: Form, fault?: StripeFault): StripeAnswer {
    switch (operation) {
      case 'create':
        return this.intents.create(form);
      case 'confirm':
        return this.intents.confirm(id, form, fault?.kind === 'decides' ? fault.card : undefined);
      case 'cancel':
        return this.intents.cancel(id, form);
      case 'retrieve':
        return { status: 200, body: { ...this.intents.retrieve(id) } };
      case 'list':
        return pageOf(this.intents.all, form);
      case 'refund':
        return this.refunds.create(form, fault?.kind === 'leaves pending' ? 'pending' : 'succeeded');
      case 'list refunds':
        return pageOf(
          this.refunds.all.filter(({ payment_intent }) => payment_intent === form.get('payment_intent')),
          form,
        );
      case undefined:
        throw missing('url', 'this route');
    }
  }
}

/** @returns the operation, and the id in its path */
function operationOf(method: string, path: string): [StripeOperation | undefined, string] {
  const [, resource = '', id = '', action = ''] =
    /^\/v1\/(payment_intents|refunds)(?:\/(\w+))?(?:\/(\w+))?$/.exec(path) ?? [];
  const routes: Record<string, StripeOperation> = {
    'POST payment_intents': 'create',
    'GET payment_intents': 'list',
    'GET payment_intents id': 'retrieve',
    'POST payment_intents id confirm': 'confirm',
    'POST payment_intents id cancel': 'cancel',
    'POST refunds': 'refund',
    'GET refunds': 'list refunds',
  };
  return [routes[[method, resource, id && 'id', action].filter(Boolean).join(' ')], id];
}

const DEFAULT_LIMIT = 10;

/** A page of a list, newest first, with Stripe's parameters `created[gte]`, `starting_after` and `limit`. */
function pageOf(all: readonly { id: string; created: number }[], form: Form): StripeAnswer {
  const since = Number(form.get('created[gte]') ?? 0);
  const after = form.get('starting_after');
  const rest = after === undefined ? all : all.slice(all.findIndex(({ id }) => id === after) + 1);
  const found = rest.filter(({ created }) => created >= since);
  const page = found.slice(0, Number(form.get('limit') ?? DEFAULT_LIMIT));
  return { status: 200, body: { object: 'list', data: page, has_more: found.length > page.length } };
}

function send(response: ServerResponse, { status, body }: StripeAnswer, isReplayed: boolean): void {
  const headers = { 'content-type': 'application/json', 'request-id': 'req_fake' };
  response.writeHead(status, { ...headers, ...(isReplayed && { 'idempotent-replayed': 'true' }) });
  response.end(JSON.stringify(body));
}
