import {
  accountMoving,
  databaseUnavailable,
  idempotencyKeyInProgress,
  idempotencyKeyInvalid,
  idempotencyKeyMissing,
  idempotencyKeyReused,
  overloaded,
} from '../idempotency/http/idempotency.errors.js';
import type { IdempotencyError } from '../idempotency/index.js';

/** One error of each code of the idempotency module, which alone decides the status, the outcome and the `Retry-After` of its errors. */
export const IDEMPOTENCY_ERRORS: Readonly<Record<IdempotencyError['code'], IdempotencyError>> = {
  idempotency_key_missing: idempotencyKeyMissing(),
  idempotency_key_invalid: idempotencyKeyInvalid('it is empty'),
  idempotency_key_in_progress: idempotencyKeyInProgress(),
  idempotency_key_reused: idempotencyKeyReused(),
  database_unavailable: databaseUnavailable('not_started', undefined),
  account_moving: accountMoving('not_started', undefined),
  overloaded: overloaded(),
};

/** The status of an error of the idempotency module. */
export const statusOf = (code: IdempotencyError['code']) => IDEMPOTENCY_ERRORS[code].getStatus();
