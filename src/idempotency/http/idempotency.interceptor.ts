import {
  BadRequestException,
  type CallHandler,
  type ExecutionContext,
  HttpException,
  Inject,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { from, lastValueFrom, type Observable, of } from 'rxjs';
import { canonicalRequest, fingerprintOf } from './fingerprint.js';
import { Idempotency } from '../idempotency.js';
import { IdempotencyError } from './idempotency.errors.js';
import type { RequestOutcome } from '../upkeep/idempotency.events.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { findIdempotencyKey, readIdempotencyKey } from './idempotency-key.js';
import { IDEMPOTENT, MEANINGFUL_HEADERS } from './idempotent.metadata.js';
import { operationOf, type RoutedRequest } from './operations.js';
import type { IdempotentRequest } from '../request/idempotent-request.js';
import { Duplicate, KeyedRequest, SWALLOWED } from '../request/keyed-request.js';
import type { RecordedReply } from '../request/reply.js';
import { RequestIdentity } from '../request/request-identity.js';
import { UnkeyedRequest } from '../request/unkeyed-request.js';

/** The response header that marks a replay. A first reply never has it. */
const REPLAYED_HEADER = 'Idempotent-Replayed';
/**
 * The response header that says when the key expires, on first replies and replays alike. Until then, a client may send the request again.
 *
 * The draft of the Idempotency-Key does not define such a header (issues 35 and 49 of its repository propose one, without a name or a form).
 * The value is an HTTP date as in `Date` and `Expires` (RFC 9110 §5.6.7), because every HTTP library can read it, and because a client can
 * compare it with the `Date` of the same reply, so the client's clock does not matter. A number of seconds would start at a different
 * time for every reply, so a client could not store it. Fractions of a second are cut off, so the time is never later than the real one.
 */
const EXPIRES_HEADER = 'Idempotency-Key-Expires';

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
 * A duplicate gets its reply in one of three ways: from the cache; from the same request, if it is in flight in this process; or from the
 * database, where `claim` or `complete` finds the reply and throws it through the handler as a `Duplicate`. In the first two ways neither
 * validation nor the handler runs. That is safe, because the duplicate gets the answer of a request with the same content.
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
    const cached = this.idempotency.replies?.find(identity);
    if (cached) return of(this.answered(context, cached, 'replayed'));
    return from(this.answer(context, identity, next));
  }

  private identify(context: ExecutionContext, http: HttpRequest, key: string): RequestIdentity {
    const operation = operationOf(http);
    const parameters = { path: http.params, query: http.query, headers: headersOf(context, http) };
    const canonical = canonicalOf(operation, parameters, http.body);
    return new RequestIdentity(this.accountOf(http), key, operation, fingerprintOf(canonical), canonical.length);
  }

  private accountOf(http: HttpRequest): string {
    let accountId: string;
    try {
      accountId = this.options.scope(http as never);
    } catch (error) {
      throw scopeFailed(error);
    }
    if (!accountId)
      throw new Error('scope() returned no account: without an account, keys of different callers would collide');
    return accountId;
  }

  private async answerUnkeyed(context: ExecutionContext, request: UnkeyedRequest, next: CallHandler) {
    const result: unknown = await lastValueFrom(next.handle(), { defaultValue: undefined });
    return this.send(context, recordedReply(context, request, result));
  }

  private async answer(context: ExecutionContext, identity: RequestIdentity, next: CallHandler) {
    const { inFlight, events } = this.idempotency;
    const http = context.switchToHttp().getRequest<HttpRequest>();
    try {
      const same = inFlight.find(identity);
      if (same) {
        // The handler of a duplicate never runs, so its body need not stay in memory while the duplicate waits.
        http.body = undefined;
        return this.answered(context, await inFlight.follow(same, identity.accountId), 'waited');
      }
      const request = new KeyedRequest(identity, this.idempotency);
      requests.set(http, request);
      const reply = await inFlight.lead(identity, () => runHandler(context, request, next));
      return this.answered(context, reply, request.answeredAs);
    } catch (error) {
      events.next({ type: 'answered', outcome: outcomeOf(error) });
      throw error;
    }
  }

  private answered(context: ExecutionContext, reply: RecordedReply, outcome: RequestOutcome): string | undefined {
    const body = this.send(context, reply, outcome !== 'first');
    this.idempotency.events.next({ type: 'answered', outcome });
    return body;
  }

  /** Sends the recorded bytes, whether the reply is the first one or a replay. */
  private send(context: ExecutionContext, reply: RecordedReply, isReplay = false): string | undefined {
    const response = context.switchToHttp().getResponse<object>();
    const { httpAdapter } = this.adapterHost;
    httpAdapter.status(response, reply.status);
    for (const [name, value] of Object.entries(reply.headers)) httpAdapter.setHeader(response, name, value);
    if (isReplay) httpAdapter.setHeader(response, REPLAYED_HEADER, 'true');
    if (reply.expiry) httpAdapter.setHeader(response, EXPIRES_HEADER, new Date(reply.expiry.epochMs).toUTCString());
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

/** The error for an exception of scope(). An answer with which scope() has refused the request stays as it is. */
const scopeFailed = (error: unknown) =>
  error instanceof HttpException
    ? error
    : new Error(
        `scope() failed: ${String(error)}; expected it to return the account of a request that a guard has admitted`,
        { cause: error },
      );

const metadataOf = (name: string, context: ExecutionContext): unknown =>
  Reflect.getMetadata(name, context.getHandler()) ?? Reflect.getMetadata(name, context.getClass());

const requirementOf = (context: ExecutionContext) => metadataOf(IDEMPOTENT, context) as 'required' | 'optional';

/** @throws BadRequestException if the body is nested so deeply that the recursion overflows the stack */
function canonicalOf(...request: Parameters<typeof canonicalRequest>): string {
  try {
    return canonicalRequest(...request);
  } catch (error) {
    if (error instanceof RangeError)
      throw new BadRequestException('Expected a body with less nesting', { cause: error });
    throw error;
  }
}

/** The headers that belong to the request; `undefined` if there are none, so that they do not appear in the canonical form. */
function headersOf(context: ExecutionContext, { headers }: HttpRequest): Record<string, unknown> | undefined {
  const names = metadataOf(MEANINGFUL_HEADERS, context) as string[];
  return names.length === 0 ? undefined : Object.fromEntries(names.map((name) => [name, headers[name]]));
}

/**
 * Runs the pipes and the handler.
 *
 * @returns the reply that the handler has recorded, or the reply that `claim` or `complete` found under the key
 * @throws every other error of the handler, once the lease of a claimed request has been released
 */
async function runHandler(context: ExecutionContext, request: KeyedRequest, next: CallHandler): Promise<RecordedReply> {
  try {
    const result: unknown = await lastValueFrom(next.handle(), { defaultValue: undefined });
    return recordedReply(context, request, result);
  } catch (error) {
    if (error instanceof Duplicate) return error.reply;
    await request.release(error);
    throw error;
  }
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
