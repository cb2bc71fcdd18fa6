import { type StripeAnswer, StripeRefusal } from './stripe-errors.js';

interface Known {
  /** Method, path and parameters of the first request with the key. */
  request: string;
  firstUsedAtMs: number;
  /** Undefined while the first request is in flight. */
  answer?: StripeAnswer;
}

/**
 * Stripe's idempotency keys: the first answer with a key is recorded and replayed, a failure as well, until the key is older than its life. Then
 * the key is forgotten, and a request with it is a new request.
 */
export class IdempotencyLayer {
  private readonly keys = new Map<string, Known>();

  /** @param now the time in milliseconds */
  constructor(
    private readonly keyLifeMs: number,
    private readonly now: () => number,
  ) {}

  /**
   * Runs `execute`, or returns the recorded answer.
   *
   * @param request the text that must be the same for each request with the key
   * @param execute throws a StripeRefusal if the request is not valid. A refusal is not recorded.
   */
  async answer(
    key: string,
    request: string,
    execute: () => Promise<StripeAnswer>,
  ): Promise<{ answer: StripeAnswer; isReplayed: boolean }> {
    const known = this.keys.get(key);
    if (known && this.now() - known.firstUsedAtMs < this.keyLifeMs) {
      if (known.request !== request) {
        const message = 'Keys for idempotent requests can only be used with the same parameters.';
        throw new StripeRefusal(400, { type: 'idempotency_error', message });
      }
      if (!known.answer) {
        const message = 'There is currently another in-progress request using this key.';
        throw new StripeRefusal(409, { type: 'invalid_request_error', code: 'idempotency_key_in_use', message });
      }
      return { answer: known.answer, isReplayed: true };
    }
    const first: Known = { request, firstUsedAtMs: this.now() };
    this.keys.set(key, first);
    try {
      return { answer: (first.answer = await execute()), isReplayed: false };
    } catch (error) {
      this.keys.delete(key);
      throw error;
    }
  }
}
