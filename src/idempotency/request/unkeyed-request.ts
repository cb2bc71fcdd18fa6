import { databaseUnavailable } from '../http/idempotency.errors.js';
import type { Idempotency } from '../idempotency.js';
import type { AnyPhase } from './phase.js';
import { record, type RecordedReply, type Reply } from './reply.js';
import { newRequestId } from './request-id.js';
import { RequestIdentity } from './request-identity.js';
import { CommitUnknown, isOutage } from '../../postgres/transaction.js';

/**
 * A request that came without a key, where the key is optional: something else makes it safe to repeat, such as a
 * natural key or a version. It shares commits as any other, and its reply is not kept: each attempt is judged anew.
 */
export class UnkeyedRequest {
  /** The reply, once committed. */
  recorded?: RecordedReply;

  constructor(
    private readonly accountId: string,
    private readonly operation: string,
    private readonly idempotency: Idempotency,
  ) {}

  /**
   * Commits `phase`.
   *
   * @returns its reply, for the handler to return
   * @throws IdempotencyError 503, `unknown` when the answer to COMMIT was lost
   */
  async complete<Input>(phase: AnyPhase<Input, Reply>, input: Input): Promise<RecordedReply> {
    const requestId = newRequestId();
    const unit = {
      // Under a name of its own there is nothing to claim, and nobody to wait for.
      identity: new RequestIdentity(this.accountId, requestId, this.operation, NO_FINGERPRINT),
      holds: true,
      lockToken: requestId,
      newRequestId: requestId,
      phase: phase as AnyPhase<never, unknown>,
      input,
      completes: false,
      inDoubt: false,
    };
    const leave = this.idempotency.inFlight.enter(this.accountId, JSON.stringify(input)?.length ?? 0);
    try {
      const outcome = await this.idempotency.commits.commit(unit);
      if (outcome.kind !== 'committed') throw new Error(`A request without a key is ${outcome.kind}`);
      return (this.recorded = record(outcome.result as Reply));
    } catch (error) {
      if (!isOutage(error)) throw error;
      throw databaseUnavailable(error instanceof CommitUnknown ? 'unknown' : 'not_started', error);
    } finally {
      leave();
    }
  }
}

const NO_FINGERPRINT = Buffer.alloc(0);
