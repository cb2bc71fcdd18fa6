import { z } from 'zod';
import type { Charge } from '../charge.entity.js';
import type { Refund } from '../refunds/refund.entity.js';
import { type Authorization, gatewayUnavailable, PaymentGateway, type RefundDecision } from './payment.gateway.js';

/** Maximum bytes of an answer. A decision takes less than a hundred bytes, and a longer answer must not fill the memory. */
const MAX_ANSWER_BYTES = 4_096;
/** A card number has at least 13 digits, and must not be stored. A decline code never needs as many. */
const MAX_DECLINE_CODE_DIGITS = 12;

const captured = z.looseObject({});
// A word such as `do_not_honor` or `51`. It is stored and sent to the client, so it has a bound and plain characters.
const code = z
  .string()
  .regex(/^[\w.-]{1,64}$/)
  .refine((word) => word.replace(/\D/g, '').length <= MAX_DECLINE_CODE_DIGITS);
const declined = z.looseObject({ decline_code: code });
const refused = z.looseObject({ failure_code: code });

/**
 * A bank that is another service, reached over HTTP.
 *
 * The request is `POST <url>/captures` with the charge's id as `Idempotency-Key` and the body `{account_id, charge_id, amount, currency,
 * source}`. The amount is in minor units.
 *
 * Two answers are decisions, each of at most 4 KiB. 200 with a JSON object means captured. 402 with `{decline_code}` means declined; the code
 * has 1 to 64 letters, digits, `_`, `.` and `-`, and at most 12 digits. After any other answer, and after a lost answer, the charge stays
 * pending, and a retry or recovery asks the bank again with the same key.
 */
export class HttpGateway extends PaymentGateway {
  private readonly captures: string;
  private readonly refunds: string;

  constructor(url: string, timeoutMs: number) {
    super(timeoutMs);
    this.captures = `${url.replace(/\/$/, '')}/captures`;
    this.refunds = `${url.replace(/\/$/, '')}/refunds`;
  }

  protected async sendRefund(refund: Refund, _charge: Charge, giveUp: AbortSignal): Promise<RefundDecision> {
    const { account_id, id, charge_id, amount, currency } = refund;
    try {
      const answer = await fetch(this.refunds, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': refund.id },
        body: JSON.stringify({ account_id, refund_id: id, charge_id, amount, currency }),
        // A redirect must not decide which server pays the money.
        redirect: 'error',
        signal: giveUp,
      });
      return refundDecisionOf(answer.status, await bodyOf(answer));
    } catch (error) {
      throw gatewayUnavailable(error);
    }
  }

  protected async send(charge: Charge, giveUp: AbortSignal): Promise<Authorization> {
    const { account_id, id, amount, currency, source } = charge;
    try {
      const answer = await fetch(this.captures, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': id },
        body: JSON.stringify({ account_id, charge_id: id, amount, currency, source }),
        // A redirect must not decide which server takes the money.
        redirect: 'error',
        signal: giveUp,
      });
      return decisionOf(answer.status, await bodyOf(answer));
    } catch (error) {
      throw gatewayUnavailable(error);
    }
  }
}

/** @throws Error if the answer is not a decision. The message never quotes the answer, because messages are logged. */
function decisionOf(status: number, body: unknown): Authorization {
  if (status === 200 && captured.safeParse(body).success) return { status: 'succeeded' };
  const decline = declined.safeParse(body);
  if (status === 402 && decline.success) return { status: 'failed', declineCode: decline.data.decline_code };
  throw new Error(`The gateway answered ${status}, and the answer is not a decision that this service understands`);
}

/** @throws Error if the answer is not a decision */
function refundDecisionOf(status: number, body: unknown): RefundDecision {
  if (status === 200 && captured.safeParse(body).success) return { status: 'succeeded' };
  const failure = refused.safeParse(body);
  if (status === 402 && failure.success) return { status: 'failed', failureCode: failure.data.failure_code };
  throw new Error(`The gateway answered ${status}, and the answer is not a decision that this service understands`);
}

/**
 * Returns the JSON value of an answer; `undefined`, which no schema accepts, if the answer is not JSON.
 *
 * @throws Error if the answer is too long
 */
async function bodyOf(answer: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // A `throw` in this loop also closes the connection, so an endless answer ends here.
  for await (const chunk of (answer.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`The gateway answered with more than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    return undefined;
  }
}
