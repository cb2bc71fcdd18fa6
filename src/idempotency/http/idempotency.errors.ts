import { HttpException } from '@nestjs/common';

/**
 * What a client may conclude about its request from an error:
 * `not_started`: this attempt has done nothing; `unknown`: it may take effect, or has, and will be finished;
 * `final`: the answer stands, and sending it again gets the same one.
 */
export type Outcome = 'not_started' | 'unknown' | 'final';

export type IdempotencyErrorCode =
  | 'idempotency_key_missing'
  | 'idempotency_key_invalid'
  | 'idempotency_key_in_progress'
  | 'idempotency_key_reused'
  | 'database_unavailable'
  | 'overloaded';

/** An answer of this module that is not a recorded reply. It is never recorded, so the key stays usable. */
export class IdempotencyError extends HttpException {
  constructor(
    readonly code: IdempotencyErrorCode,
    status: number,
    readonly detail: string,
    readonly outcome: Outcome,
    /** Seconds for the `Retry-After` header; present when sending the same request again makes sense. */
    readonly retryAfterSeconds?: number,
    cause?: unknown,
  ) {
    super({ code, detail, outcome, retryable: retryAfterSeconds !== undefined }, status, { cause });
    // For logs; Nest would say no more than the name of the class.
    this.message = `${code}: ${detail}`;
  }
}

/** 400: the draft's §2.7, for an operation that requires a key. */
export const idempotencyKeyMissing = () =>
  new IdempotencyError(
    'idempotency_key_missing',
    400,
    'This operation needs an Idempotency-Key header: 1 to 255 visible ASCII characters, new for every operation, the same for every retry.',
    'not_started',
  );

/** 400: a key that two parties could read differently is refused rather than guessed. */
export const idempotencyKeyInvalid = (reason: string) =>
  new IdempotencyError(
    'idempotency_key_invalid',
    400,
    `Idempotency-Key: expected one header with 1 to 255 visible ASCII characters, bare or in double quotes, but ${reason}.`,
    'not_started',
  );

/** 422: the draft's §2.7 for a key that already stands for another request. */
export const idempotencyKeyReused = () =>
  new IdempotencyError(
    'idempotency_key_reused',
    422,
    'This idempotency key belongs to another request: its method, route, body or precondition differs. Send a new key for a new operation.',
    'not_started',
  );

/** 409: the same request is still being worked on, and the wait for its reply is over. */
export const idempotencyKeyInProgress = () =>
  new IdempotencyError(
    'idempotency_key_in_progress',
    409,
    'The first request with this idempotency key is still being processed. Send the same request again to get its reply.',
    'unknown',
    1,
  );

/** 503: the record cannot be read or written, so nothing is run without it. */
export const databaseUnavailable = (outcome: Outcome, cause: unknown) =>
  new IdempotencyError(
    'database_unavailable',
    503,
    outcome === 'not_started'
      ? 'The database cannot be reached, and nothing was started. Send the same request again.'
      : 'The database stopped answering while the request was processed, which may have taken effect. Send the same request again to get its reply.',
    outcome,
    1,
    cause,
  );

/** 503: more requests wait for a commit than can be served soon. */
export const overloaded = () =>
  new IdempotencyError(
    'overloaded',
    503,
    'Too many requests are waiting, and nothing was started. Send the same request again.',
    'not_started',
    1,
  );
