import {
  applyDecorators,
  createParamDecorator,
  type ExecutionContext,
  SetMetadata,
  type Type,
  UseInterceptors,
} from '@nestjs/common';
import { IdempotencyInterceptor, requestOf } from './idempotency.interceptor.js';
import { IDEMPOTENT, MEANINGFUL_HEADERS, RESUMED_BY, type ResumedBy } from './idempotent.metadata.js';

/** How a handler is idempotent. */
export interface IdempotentHandler<Service = unknown> {
  /**
   * `optional` for an operation that is safe to repeat for another reason, such as a natural key or a version. If a client sends no key, the
   * handler can use `complete` only, and nothing is replayed. By default the key is required.
   */
  key?: 'required' | 'optional';
  /**
   * Names of request headers, in lower case, that belong to the request like its body does, such as `if-match`. If the value of such a header
   * differs, it is another request.
   */
  headers?: string[];
  /**
   * The method of a service that finishes a request which the handler has claimed and not completed. The method gets an `AbandonedRequest`
   * and takes the same steps as the handler. Required for a handler that uses `claim`, because a crash between its two commits would
   * otherwise leave the request unfinished until its client retries.
   */
  resumedBy?: readonly [service: Type<Service>, method: keyof Service & string];
}

/**
 * Makes a handler safe to retry: it requires an `Idempotency-Key`, and a duplicate gets the recorded reply. The handler gets its
 * {@link IdempotentRequest} from `@IdempotencyContext()` and returns what `complete` returned.
 */
export const Idempotent = <Service>({ key = 'required', headers = [], resumedBy }: IdempotentHandler<Service> = {}) =>
  applyDecorators(
    SetMetadata(IDEMPOTENT, key),
    SetMetadata(MEANINGFUL_HEADERS, headers),
    SetMetadata(RESUMED_BY, resumedBy satisfies ResumedBy | undefined),
    UseInterceptors(IdempotencyInterceptor),
  );

/** Injects the {@link IdempotentRequest} into a handler that is `@Idempotent()`. */
export const IdempotencyContext = createParamDecorator((_: unknown, context: ExecutionContext) => requestOf(context));
