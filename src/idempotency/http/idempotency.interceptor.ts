import { type CallHandler, type ExecutionContext, Inject, Injectable, type NestInterceptor } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { from, lastValueFrom, type Observable, of } from 'rxjs';
import { canonicalRequest } from './fingerprint.js';
import { Idempotency } from '../idempotency.js';
import { IdempotencyError } from './idempotency.errors.js';
import type { RequestOutcome } from '../upkeep/idempotency.events.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { findIdempotencyKey, readIdempotencyKey } from './idempotency-key.js';
import { Duplicate, IdempotentRequest } from '../request/idempotent-request.js';
import { RecordedReply } from '../request/reply.js';
import { RequestIdentity } from '../request/request-identity.js';
import { UnkeyedRequest } from '../request/unkeyed-request.js';

/** The response header of a replay; a first reply never has it. */
const REPLAYED_HEADER = 'Idempotent-Replayed';

/** Metadata of an idempotent handler: whether its key is required. For this, the check at start, and API documentation. */
export const IDEMPOTENT = 'idempotency:idempotent';

/** Metadata of an idempotent handler: the headers that say what is asked for, beside the body. */
export const MEANINGFUL_HEADERS = 'idempotency:meaningful-headers';

/** Whether a request may come without a key, since something else makes it safe to repeat. */
export type KeyRequirement = 'required' | 'optional';

const requests = new WeakMap<object, IdempotentRequest | UnkeyedRequest>();

/** The idempotent request that belongs to the HTTP request of `context`. */
export function requestOf(context: ExecutionContext): IdempotentRequest | UnkeyedRequest {
  const request = requests.get(context.switchToHttp().getRequest<object>());
  if (!request)
    throw new Error(`${context.getHandler().name}: @IdempotencyContext() needs @Idempotent() on the handler`);
  return request;
}

/**
 * Reads the key, lets the handler do its work under it, and sends the recorded reply.
 *
 * The key is claimed by the handler, not here: interceptors run before validation, and a body that is refused must
 * not burn a key. What is known to be answered need not go there: the same request was valid.
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  constructor(
    private readonly idempotency: Idempotency,
    private readonly adapterHost: HttpAdapterHost,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<string | undefined> {
    const http = context.switchToHttp().getRequest<HttpRequest>();
    const read = requirementOf(context) === 'optional' ? findIdempotencyKey : readIdempotencyKey;
    const key = read((http.raw ?? http).rawHeaders);
    if (key === undefined) {
      const request = new UnkeyedRequest(this.accountOf(http), operationOf(http), this.idempotency);
      requests.set(http, request);
      return from(this.answerUnkeyed(context, request, next));
    }
    const identity = this.identify(context, http, key);
    const known = this.idempotency.replies.find(identity);
    if (known instanceof RecordedReply) return of(this.answered(context, known, 'replayed'));
    const request = new IdempotentRequest(identity, this.idempotency);
    requests.set(http, request);
    return from(this.answer(context, request, next));
  }

  private identify(context: ExecutionContext, http: HttpRequest, key: string): RequestIdentity {
    const operation = operationOf(http);
    const headers = headersOf(context, http);
    // Asked for when something else is known of the key, and by the handler that claims it.
    const content = () => canonicalRequest(operation, { path: http.params, query: http.query, headers }, http.body);
    return new RequestIdentity(this.accountOf(http), key, operation, content);
  }

  private accountOf(http: HttpRequest): string {
    const accountId = this.options.scope(http as never);
    if (!accountId) throw new Error('scope() named no account: without one, keys of different callers would collide');
    return accountId;
  }

  private async answerUnkeyed(context: ExecutionContext, request: UnkeyedRequest, next: CallHandler) {
    const result: unknown = await lastValueFrom(next.handle(), { defaultValue: undefined });
    return this.send(context, recordedReply(context, request, result));
  }

  private async answer(context: ExecutionContext, request: IdempotentRequest, next: CallHandler) {
    const http = context.switchToHttp().getRequest<HttpRequest>();
    try {
      // As with a reply that is known: the same request was valid.
      await request.waitForSame(() => (http.body = undefined));
      const result: unknown = await lastValueFrom(next.handle(), { defaultValue: undefined });
      const reply = recordedReply(context, request, result);
      await request.settle(reply);
      return this.answered(context, reply, 'first');
    } catch (error) {
      if (error instanceof Duplicate) {
        await request.settle(error.reply);
        return this.answered(context, error.reply, error.isOurs ? 'first' : request.waited ? 'waited' : 'replayed');
      }
      this.idempotency.events.next({ type: 'answered', outcome: outcomeOf(error) });
      await request.settle(undefined, error);
      throw error;
    }
  }

  private answered(context: ExecutionContext, reply: RecordedReply, outcome: RequestOutcome): string | undefined {
    this.idempotency.events.next({ type: 'answered', outcome });
    return this.send(context, reply, outcome !== 'first');
  }

  /** The one place a reply is sent from, the first time and every time: from the recorded bytes. */
  private send(context: ExecutionContext, reply: RecordedReply, isReplay = false): string | undefined {
    const response = context.switchToHttp().getResponse<object>();
    const { httpAdapter } = this.adapterHost;
    httpAdapter.status(response, reply.status);
    for (const [name, value] of Object.entries(reply.headers)) httpAdapter.setHeader(response, name, value);
    if (isReplay) httpAdapter.setHeader(response, REPLAYED_HEADER, 'true');
    return reply.body === '' ? undefined : reply.body;
  }
}

/** What is read of a Fastify or Express request. */
interface HttpRequest {
  method: string;
  params: unknown;
  query: unknown;
  body: unknown;
  headers: Record<string, unknown>;
  rawHeaders: string[];
  /** Fastify's own request wraps Node's. */
  raw?: { rawHeaders: string[] };
  routeOptions?: { url?: string };
  /** Express. */
  route?: { path: string };
}

const metadataOf = (name: string, context: ExecutionContext): unknown =>
  Reflect.getMetadata(name, context.getHandler()) ?? Reflect.getMetadata(name, context.getClass());

const requirementOf = (context: ExecutionContext) => metadataOf(IDEMPOTENT, context) as KeyRequirement;

/** The headers that belong to the request; `undefined`, which is no member of it, where none do. */
function headersOf(context: ExecutionContext, { headers }: HttpRequest): Record<string, unknown> | undefined {
  const names = metadataOf(MEANINGFUL_HEADERS, context) as string[];
  return names.length === 0 ? undefined : Object.fromEntries(names.map((name) => [name, headers[name]]));
}

/** @throws Error when the handler returned anything but the reply that it completed its request with */
function recordedReply(context: ExecutionContext, { recorded }: { recorded?: RecordedReply }, result: unknown) {
  if (recorded && result === recorded) return recorded;
  throw new Error(`${context.getHandler().name} returned something else than the reply of request.complete()`);
}

const operationOf = (http: HttpRequest) => `${http.method} ${http.routeOptions?.url ?? http.route?.path ?? ''}`;

function outcomeOf(error: unknown): RequestOutcome {
  if (!(error instanceof IdempotencyError)) return 'failed';
  if (error.code === 'idempotency_key_in_progress') return 'in_progress';
  return error.code === 'idempotency_key_reused' ? 'reused' : 'failed';
}
