import type { Charge } from '../charge.entity.js';
import { type Authorization, gatewayUnavailable, PaymentGateway } from './payment.gateway.js';

/**
 * A bank that is another service, reached over HTTP.
 *
 * `POST <url>/captures` with the charge's id as `Idempotency-Key` and `{account_id, charge_id, amount, currency, source}`, amounts
 * in minor units. 200 means captured; 402 with `{decline_code}` means declined; anything else, and no answer, decides nothing.
 * What is asked again is asked with the same key, so that the bank does it once.
 */
export class HttpGateway extends PaymentGateway {
  private readonly captures: string;

  constructor(url: string, timeoutMs: number) {
    super(timeoutMs);
    this.captures = `${url.replace(/\/$/, '')}/captures`;
  }

  protected async send(charge: Charge, giveUp: AbortController): Promise<Authorization> {
    const { account_id, id, amount, currency, source } = charge;
    try {
      const answer = await fetch(this.captures, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': id },
        body: JSON.stringify({ account_id, charge_id: id, amount, currency, source }),
        // Money is not taken by whoever an answer points to.
        redirect: 'error',
        signal: giveUp.signal,
      });
      const body: unknown = await answer.json();
      if (answer.status === 200) return { status: 'succeeded' };
      if (answer.status === 402) return { status: 'failed', declineCode: declineCodeOf(body) };
      throw new Error(`The gateway answered ${answer.status}`);
    } catch (error) {
      throw gatewayUnavailable(error);
    }
  }
}

/** @throws Error when there is none: an answer that is not understood decides nothing */
function declineCodeOf(body: unknown): string {
  const code = (body as { decline_code?: unknown } | null)?.decline_code;
  if (typeof code !== 'string' || code === '') throw new Error('The gateway declined without a decline_code');
  return code;
}
