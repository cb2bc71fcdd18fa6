import { v7 as uuidv7 } from 'uuid';
import { CommitUnknown } from '../../postgres/transaction.js';
import { answerToOutage } from '../http/idempotency.errors.js';
import type { Idempotency } from '../idempotency.js';
import { IdempotentRequest } from './idempotent-request.js';
import type { AnyPhase } from './phase.js';
import type { RecordedReply, Reply } from './reply.js';
import { RequestIdentity } from './request-identity.js';

const NO_FINGERPRINT = Buffer.alloc(0);

/**
 * A request without a key, to an operation that is safe to repeat for another reason, such as a natural key or a version. It is committed
 * like any other request, but its reply is not recorded, so every attempt runs the phase.
 */
export class UnkeyedRequest extends IdempotentRequest {
  readonly key = undefined;

  constructor(
    private readonly accountId: string,
    private readonly operation: string,
    private readonly idempotency: Idempotency,
  ) {
    super();
  }

  /** @throws Error, because there is no key to claim */
  claim(): Promise<never> {
    throw new Error('A request without a key cannot be claimed: use complete(), or require the key with @Idempotent()');
  }

  /** @throws IdempotencyError 503, with the outcome `unknown` if the answer to COMMIT was lost */
  async complete<Input>(phase: AnyPhase<Input, Reply>, input: Input): Promise<RecordedReply> {
    const requestId = uuidv7();
    // A random identity, so that this request never conflicts with another one.
    const identity = new RequestIdentity(this.accountId, requestId, this.operation, NO_FINGERPRINT);
    const giveBackMemory = this.idempotency.inFlight.enter(this.accountId, JSON.stringify(input)?.length ?? 0);
    try {
      const unit = { kind: 'unkeyed', identity, requestId, phase: phase as AnyPhase<never, unknown>, input } as const;
      const committed = await this.idempotency.committer.commit(unit);
      if (committed.kind !== 'committed') throw new Error(`A request without a key cannot be ${committed.kind}`);
      return (this.recorded = committed.result as RecordedReply);
    } catch (error) {
      throw answerToOutage(error, error instanceof CommitUnknown ? 'unknown' : 'not_started') ?? error;
    } finally {
      giveBackMemory();
    }
  }
}
