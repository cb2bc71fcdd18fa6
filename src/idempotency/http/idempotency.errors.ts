import { HttpException } from '@nestjs/common';
import { isAccountMoving } from '../../postgres/database-errors.js';
import { isOutage } from '../../postgres/transaction.js';

/**
 * The conclusion that a client may draw from an error about its request. `not_started`: this attempt has done nothing. `unknown`: the request
 * may have taken effect or may still do so, and will be finished. `final`: a retry gets the same answer.
 */
export type Outcome = 'not_started' | 'unknown' | 'final';

export type IdempotencyErrorCode =
  | 'idempotency_key_missing'
  | 'idempotency_key_invalid'
  | 'idempotency_key_in_progress'
  | 'idempotency_key_reused'
  | 'database_unavailable'
  | 'account_moving'
  | 'overloaded';

/** An answer of this module. It is never recorded, so the client can still use the key. */
export class IdempotencyError extends HttpException {
  constructor(
    readonly code: IdempotencyErrorCode,
    status: number,
    readonly detail: string,
    readonly outcome: Outcome,
    /** Seconds for the `Retry-After` header; `undefined` if a retry of the same request cannot succeed. */
    readonly retryAfterSeconds?: number,
    cause?: unknown,
  ) {
    super({ code, detail, outcome, retryable: retryAfterSeconds !== undefined }, status, { cause });
    // Logs show this message. Nest's own message is only the name of the class.
    this.message = `${code}: ${detail}`;
  }
}

/** 400, by §2.7 of the draft: the operation requires a key. */
export const idempotencyKeyMissing = () =>
  new IdempotencyError(
    'idempotency_key_missing',
    400,
    'This operation needs an Idempotency-Key header: 1 to 255 visible ASCII characters, new for every operation, the same for every retry.',
    'not_started',
  );

/** 400: an ambiguous header is refused, because client and service could read different keys from it. */
export const idempotencyKeyInvalid = (reason: string) =>
  new IdempotencyError(
    'idempotency_key_invalid',
    400,
    `Idempotency-Key: expected one header with 1 to 255 visible ASCII characters, bare or in double quotes, but ${reason}.`,
    'not_started',
  );

/** 422, by §2.7 of the draft: the key already belongs to another request. */
export const idempotencyKeyReused = () =>
  new IdempotencyError(
    'idempotency_key_reused',
    422,
    'This idempotency key belongs to another request: its method, route, body or precondition differs. Send a new key for a new operation.',
    'not_started',
  );

/** 409: the same request is still in flight, and the duplicate cannot wait any longer for its reply. */
export const idempotencyKeyInProgress = () =>
  new IdempotencyError(
    'idempotency_key_in_progress',
    409,
    'The first request with this idempotency key is still being processed. Send the same request again to get its reply.',
    'unknown',
    1,
  );

/** 503: the row of the key cannot be read or written, and the handler must not run without it. */
export const databaseUnavailable = (outcome: Outcome, cause: unknown) =>
  new IdempotencyError(
    'database_unavailable',
    503,
    outcome === 'not_started'
      ? 'The database cannot be reached, and nothing was started. Send the same request again.'
      : 'The database stopped answering while the request was being processed, so the request may have taken effect. Send the same request again to get its reply.',
    outcome,
    1,
    cause,
  );

/** 503: the database refuses the rows of this account, because the account is being moved to another database. */
export const accountMoving = (outcome: Outcome, cause: unknown) =>
  new IdempotencyError(
    'account_moving',
    503,
    'The account is being moved to another database. Send the same request again.',
    outcome,
    1,
    cause,
  );

/** The answer to an error with which the database has refused or lost a request that may succeed later; `undefined` for every other error. */
export function answerToOutage(error: unknown, outcome: Outcome): IdempotencyError | undefined {
  if (isAccountMoving(error)) return accountMoving(outcome, error);
  return isOutage(error) ? databaseUnavailable(outcome, error) : undefined;
}

/** 503: the requests of this account that are in flight already take all the memory that the account may use. */
export const overloaded = () =>
  new IdempotencyError(
    'overloaded',
    503,
    'Too many requests are waiting, and nothing was started. Send the same request again.',
    'not_started',
    1,
  );

/** One error of each code, for documents: the module alone decides the status, the outcome and the `Retry-After` of its errors. */
export const IDEMPOTENCY_ERRORS: Readonly<Record<IdempotencyErrorCode, IdempotencyError>> = {
  idempotency_key_missing: idempotencyKeyMissing(),
  idempotency_key_invalid: idempotencyKeyInvalid('it is empty'),
  idempotency_key_in_progress: idempotencyKeyInProgress(),
  idempotency_key_reused: idempotencyKeyReused(),
  database_unavailable: databaseUnavailable('not_started', undefined),
  account_moving: accountMoving('not_started', undefined),
  overloaded: overloaded(),
};
