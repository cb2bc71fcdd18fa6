import {
  applyDecorators,
  createParamDecorator,
  type ExecutionContext,
  SetMetadata,
  UseInterceptors,
} from '@nestjs/common';
import {
  IDEMPOTENT,
  IdempotencyInterceptor,
  type KeyRequirement,
  MEANINGFUL_HEADERS,
  requestOf,
} from './idempotency.interceptor.js';

/**
 * Makes a handler safe to retry: it requires an `Idempotency-Key`, and answers duplicates with the recorded reply.
 * The handler takes its {@link IdempotentRequest} by `@IdempotencyContext()` and returns what `complete` gave it.
 *
 * @param key `optional` for an operation that something else makes safe to repeat: without a key the handler gets an
 *   {@link UnkeyedRequest}, which has `complete` only, and nothing is replayed
 * @param headers names, in lower case, of those that say what is asked for, such as `if-match`: with another value it is
 *   another request
 */
export const Idempotent = (key: KeyRequirement = 'required', ...headers: string[]) =>
  applyDecorators(
    SetMetadata(IDEMPOTENT, key),
    SetMetadata(MEANINGFUL_HEADERS, headers),
    UseInterceptors(IdempotencyInterceptor),
  );

/** The request under its key, in a handler that is `@Idempotent()`; where keys are optional, perhaps one without. */
export const IdempotencyContext = createParamDecorator((_: unknown, context: ExecutionContext) => requestOf(context));
