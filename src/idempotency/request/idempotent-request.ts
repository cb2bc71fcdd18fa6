import type { AnyPhase } from './phase.js';
import type { RecordedReply, Reply } from './reply.js';

/**
 * One request, as its handler sees it. `@IdempotencyContext()` injects it.
 *
 * If the effect is in your database, `complete` alone is enough: the key, the effect and the reply are one commit. If the handler calls
 * another service, whose effect cannot be rolled back, `claim` first makes the intent durable, and `complete` records the outcome.
 *
 * A reply that a phase returns is recorded and replayed, for every status. An error that a phase throws rolls the transaction back, and the
 * next attempt continues from the last commit.
 */
export abstract class IdempotentRequest {
  /** The reply, once this attempt has committed it. */
  recorded?: RecordedReply;

  /** The client's idempotency key; `undefined` if the client sent none to an operation where the key is optional. */
  abstract readonly key?: string;

  /**
   * Takes the key and commits `phase` in the same transaction: the first of two commits. The phase must be repeatable, because a retry runs
   * it again with the same `requestId`.
   *
   * **`claim` may not return.** If the key has a reply already, `claim` throws that reply through the handler to the interceptor, which
   * sends it. So the code behind `claim` runs only for an attempt that holds the key, and a `try/catch` around `claim` must rethrow.
   *
   * @returns the phase's result for this request
   * @throws IdempotencyError 409, 422 or 503, and every error of the phase
   */
  abstract claim<Input, Result>(phase: AnyPhase<Input, Result>, input: Input): Promise<Result>;

  /**
   * Commits `phase` together with the reply that the phase returns, and with the key if the key was not claimed before. Like `claim`, it may
   * not return.
   *
   * @returns the recorded reply, which the handler must return
   * @throws IdempotencyError 409, 422 or 503, and every error of the phase
   */
  abstract complete<Input>(phase: AnyPhase<Input, Reply>, input: Input): Promise<RecordedReply>;
}
