import { type CallHandler, type ExecutionContext, Inject, Injectable, type NestInterceptor } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { from, lastValueFrom, type Observable, of } from 'rxjs';
import { canonicalRequest } from './fingerprint.js';
import { Idempotency } from '../idempotency.js';
import { IdempotencyError } from './idempotency.errors.js';
import type { RequestOutcome } from '../upkeep/idempotency.events.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { findIdempotencyKey, readIdempotencyKey } from './idempotency-key.js';
import { IDEMPOTENT, MEANINGFUL_HEADERS } from './idempotent.metadata.js';
import { operationOf, type RoutedRequest } from './operations.js';
import type { IdempotentRequest } from '../request/idempotent-request.js';
import { Duplicate, KeyedRequest, SWALLOWED } from '../request/keyed-request.js';
import { RecordedReply } from '../request/reply.js';
import { RequestIdentity } from '../request/request-identity.js';
import { UnkeyedRequest } from '../request/unkeyed-request.js';

/** The response header that marks a replay. A first reply never has it. */
const REPLAYED_HEADER = 'Idempotent-Replayed';

const requests = new WeakMap<object, IdempotentRequest>();

/** The idempotent request that belongs to the HTTP request of `context`. */
export function requestOf(context: ExecutionContext): IdempotentRequest {
  const request = requests.get(context.switchToHttp().getRequest<object>());
  if (!request)
    throw new Error(`${context.getHandler().name}: @IdempotencyContext() needs @Idempotent() on the handler`);
  return request;
}

/**
 * Reads the key, runs the handler, and sends the recorded reply.
 *
 * A reply is replayed in one of two ways. If the reply is in the cache, it is sent without running the handler. Skipping validation is safe,
 * because the same request has passed it. Otherwise `claim` or `complete` finds the reply, and throws it through the handler as a
 * `Duplicate`.
 *
 * The handler claims the key, and not the interceptor, because interceptors run before validation, and an invalid body must not use up a
 * key.
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
    const request = new KeyedRequest(identity, this.idempotency);
    requests.set(http, request);
    return from(this.answer(context, request, next));
  }

  private identify(context: ExecutionContext, http: HttpRequest, key: string): RequestIdentity {
    const operation = operationOf(http);
    const headers = headersOf(context, http);
    // Computed only if this process knows the key, or when the handler claims it.
    const content = () => canonicalRequest(operation, { path: http.params, query: http.query, headers }, http.body);
    return new RequestIdentity(this.accountOf(http), key, operation, content);
  }

  private accountOf(http: HttpRequest): string {
    const accountId = this.options.scope(http as never);
    if (!accountId)
      throw new Error('scope() returned no account: without an account, keys of different callers would collide');
    return accountId;
  }

  private async answerUnkeyed(context: ExecutionContext, request: UnkeyedRequest, next: CallHandler) {
    const result: unknown = await lastValueFrom(next.handle(), { defaultValue: undefined });
    return this.send(context, recordedReply(context, request, result));
  }

  private async answer(context: ExecutionContext, request: KeyedRequest, next: CallHandler) {
    const http = context.switchToHttp().getRequest<HttpRequest>();
    try {
      // Skipping validation is safe here as well, because the request in flight has passed it.
      await request.waitForSame(() => (http.body = undefined));
      const result: unknown = await lastValueFrom(next.handle(), { defaultValue: undefined });
      const reply = recordedReply(context, request, result);
      await request.finish(reply);
      return this.answered(context, reply, 'first');
    } catch (error) {
      if (error instanceof Duplicate) {
        await request.finish(error.reply);
        return this.answered(context, error.reply, error.isOurs ? 'first' : request.waited ? 'waited' : 'replayed');
      }
      this.idempotency.events.next({ type: 'answered', outcome: outcomeOf(error) });
      await request.finish(undefined, error);
      throw error;
    }
  }

  private answered(context: ExecutionContext, reply: RecordedReply, outcome: RequestOutcome): string | undefined {
    this.idempotency.events.next({ type: 'answered', outcome });
    return this.send(context, reply, outcome !== 'first');
  }

  /** Sends the recorded bytes, whether the reply is the first one or a replay. */
  private send(context: ExecutionContext, reply: RecordedReply, isReplay = false): string | undefined {
    const response = context.switchToHttp().getResponse<object>();
    const { httpAdapter } = this.adapterHost;
    httpAdapter.status(response, reply.status);
    for (const [name, value] of Object.entries(reply.headers)) httpAdapter.setHeader(response, name, value);
    if (isReplay) httpAdapter.setHeader(response, REPLAYED_HEADER, 'true');
    return reply.body === '' ? undefined : reply.body;
  }
}

/** The part of a Fastify or Express request that is read here. */
interface HttpRequest extends RoutedRequest {
  params: unknown;
  query: unknown;
  body: unknown;
  headers: Record<string, unknown>;
  rawHeaders: string[];
  /** Fastify's own request wraps Node's. */
  raw?: { rawHeaders: string[] };
}

const metadataOf = (name: string, context: ExecutionContext): unknown =>
  Reflect.getMetadata(name, context.getHandler()) ?? Reflect.getMetadata(name, context.getClass());

const requirementOf = (context: ExecutionContext) => metadataOf(IDEMPOTENT, context) as 'required' | 'optional';

/** The headers that belong to the request; `undefined` if there are none, so that they do not appear in the canonical form. */
function headersOf(context: ExecutionContext, { headers }: HttpRequest): Record<string, unknown> | undefined {
  const names = metadataOf(MEANINGFUL_HEADERS, context) as string[];
  return names.length === 0 ? undefined : Object.fromEntries(names.map((name) => [name, headers[name]]));
}

/** @throws Error if the handler did not return the reply of `complete`, or swallowed the error that ended it */
function recordedReply(context: ExecutionContext, request: IdempotentRequest, result: unknown): RecordedReply {
  const { recorded } = request;
  if (request instanceof KeyedRequest && request.ended) {
    throw new Error(`${context.getHandler().name}: ${SWALLOWED}`, { cause: request.ended });
  }
  if (recorded && result === recorded) return recorded;
  throw new Error(`${context.getHandler().name} did not return the reply of request.complete() unchanged`);
}

function outcomeOf(error: unknown): RequestOutcome {
  if (!(error instanceof IdempotencyError)) return 'failed';
  if (error.code === 'idempotency_key_in_progress') return 'in_progress';
  return error.code === 'idempotency_key_reused' ? 'reused' : 'failed';
}
