import { Injectable } from '@nestjs/common';
import { Problem } from '../http/problem.js';
import { IdempotencyStore, parseIdempotencyKey } from '../idempotency/index.js';
import type { IdempotencyKeyResource } from './dto/idempotency-key.resource.js';

/** Looks up the idempotency keys of one account. */
@Injectable()
export class IdempotencyKeysService {
  constructor(private readonly store: IdempotencyStore) {}

  /**
   * Returns the state of a key. A client that lost everything except the key finds out whether its request was
   * accepted.
   *
   * @param value bare or as a quoted string, as in the `Idempotency-Key` header
   * @throws IdempotencyError 400 `idempotency_key_invalid`
   * @throws Problem 404 `not_found`
   */
  async find(accountId: string, value: string): Promise<IdempotencyKeyResource> {
    const key = parseIdempotencyKey(value);
    const found = await this.store.find(accountId, key);
    if (!found) {
      throw new Problem('not_found', 'There is no request with this idempotency key. The key may have expired.');
    }
    return {
      idempotency_key: key,
      status: found.status,
      operation: found.operation,
      created_at: found.createdAt.toISOString(),
      expires_at: found.expiresAt.toISOString(),
    };
  }
}
