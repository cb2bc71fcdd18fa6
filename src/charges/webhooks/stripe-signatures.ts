import { Problem } from '../../http/problem.js';
import { loadStripe } from '../gateway/stripe/stripe.client.js';
import { UnreadableEvent } from './stripe-event.js';

type Webhooks = Awaited<ReturnType<typeof loadStripe>>['webhooks'];

/** Checks that Stripe has sent an event. Nothing else authenticates the request. */
export class StripeSignatures {
  private constructor(
    private readonly webhooks: Webhooks,
    private readonly secret: string,
  ) {}

  /** @throws ConfigError if the SDK is not installed */
  static async of(secret: string): Promise<StripeSignatures> {
    return new StripeSignatures((await loadStripe('STRIPE_WEBHOOK_SECRET')).webhooks, secret);
  }

  /**
   * Returns the signed event. The signature is of these bytes, and may be 300 s old, which is the SDK's default: an attacker could have recorded an older
   * request and could send it again.
   *
   * @throws Problem 400 `signature_invalid`; UnreadableEvent
   */
  open(body: Buffer, signature: string): unknown {
    try {
      return this.webhooks.constructEvent(body, signature, this.secret);
    } catch (error) {
      // The errors of the SDK contain the body, so they are neither logged nor kept as a cause.
      if ((error as { type?: string }).type !== 'StripeSignatureVerificationError') {
        throw new UnreadableEvent('a signed body is not a snapshot event');
      }
      throw new Problem(
        'signature_invalid',
        'Expected a Stripe-Signature header that signs this body with the secret of this endpoint, at most 300 s ago.',
      );
    }
  }
}
