import {
  applyDecorators,
  createParamDecorator,
  type ExecutionContext,
  SetMetadata,
  UseInterceptors,
} from '@nestjs/common';
import { IdempotencyInterceptor, requestOf } from './idempotency.interceptor.js';

/** Metadata of an idempotent handler, for the check at start and for API documentation. */
export const IDEMPOTENT = 'idempotency:idempotent';

/**
 * Makes a handler safe to retry: it requires an `Idempotency-Key`, and answers duplicates with the recorded reply.
 * The handler takes its {@link IdempotentRequest} by `@KeyedRequest()` and returns what `complete` gave it.
 */
export const Idempotent = () => applyDecorators(SetMetadata(IDEMPOTENT, true), UseInterceptors(IdempotencyInterceptor));

/** The {@link IdempotentRequest} of this request, in a handler that is `@Idempotent()`. */
export const KeyedRequest = createParamDecorator((_: unknown, context: ExecutionContext) => requestOf(context));
