import { z } from 'zod';
import type { Charge } from '../charge.entity.js';
import type { Refund } from '../refunds/refund.entity.js';
import {
  type Authorization,
  type GatewayLimits,
  gatewayUnavailable,
  PaymentGateway,
  type RefundDecision,
} from './payment.gateway.js';

/** Maximum bytes of an answer. A decision takes less than a hundred bytes, and a longer answer must not fill the memory. */
const MAX_ANSWER_BYTES = 4_096;
/** A card number has at least 13 digits, and must not be stored. A decline code never needs as many. */
const MAX_DECLINE_CODE_DIGITS = 12;

// A word such as `do_not_honor` or `51`. It is stored and sent to the client, so it has a bound and plain characters.
const reason = z
  .string()
  .regex(/^[\w.-]{1,64}$/)
  .refine((code) => code.replace(/\D/g, '').length <= MAX_DECLINE_CODE_DIGITS);

const succeeded = z.looseObject({});
const unknownCharge = z.looseObject({ code: z.literal('charge_unknown') });
const unknownRefund = z.looseObject({ code: z.literal('refund_unknown') });
const declined = z.looseObject({ decline_code: reason });
const refused = z.looseObject({ failure_code: reason });

/**
 * A bank that is another service, reached over HTTP.
 *
 * The request for money is `POST <url>/captures` with the charge's id as `Idempotency-Key` and the body `{account_id, charge_id, amount,
 * currency, source}`. The amount is in minor units. `GET <url>/captures/<charge id>` asks for the decision of an earlier request.
 *
 * Two answers are decisions, each of at most 4 KiB. 200 with a JSON object means captured. 402 with `{decline_code}` means declined; the code
 * has 1 to 64 letters, digits, `_`, `.` and `-`, and at most 12 digits. 404 with `{"code": "charge_unknown"}` to a GET means that the bank has
 * decided nothing; a 404 without this code may come from a server that does not have the route. After any other answer, and after a lost
 * answer, the charge stays pending, and a retry or recovery goes on.
 *
 * Refunds are asked for in the same way: `POST <url>/refunds` with the refund's id as `Idempotency-Key` and the body `{account_id, refund_id,
 * charge_id, amount, currency}`, and `GET <url>/refunds/<refund id>`. 402 with `{failure_code}` means refused, and 404 with `{"code":
 * "refund_unknown"}` means that the bank has decided nothing.
 */
export class HttpGateway extends PaymentGateway {
  readonly name = 'http';
  private readonly captures: string;
  private readonly refunds: string;

  constructor(url: string, limits: GatewayLimits) {
    super(limits);
    const base = url.replace(/\/$/, '');
    this.captures = `${base}/captures`;
    this.refunds = `${base}/refunds`;
  }

  protected async send(charge: Charge, giveUp: AbortSignal): Promise<Authorization> {
    const { account_id, id, amount, currency, source } = charge;
    const request = { account_id, charge_id: id, amount, currency, source };
    return decisionOf(await exchange(this.captures, { ...asking(id, request), signal: giveUp }));
  }

  protected async find({ id }: Charge, giveUp: AbortSignal): Promise<Authorization | undefined> {
    const answer = await exchange(`${this.captures}/${id}`, { signal: giveUp });
    return answer.status === 404 && unknownCharge.safeParse(answer.body).success ? undefined : decisionOf(answer);
  }

  protected async sendRefund(refund: Refund, _charge: Charge, giveUp: AbortSignal): Promise<RefundDecision> {
    const { account_id, id, charge_id, amount, currency } = refund;
    const request = { account_id, refund_id: id, charge_id, amount, currency };
    return refundDecisionOf(await exchange(this.refunds, { ...asking(id, request), signal: giveUp }));
  }

  protected async findRefund(
    { id }: Refund,
    _charge: Charge,
    giveUp: AbortSignal,
  ): Promise<RefundDecision | undefined> {
    const answer = await exchange(`${this.refunds}/${id}`, { signal: giveUp });
    return answer.status === 404 && unknownRefund.safeParse(answer.body).success ? undefined : refundDecisionOf(answer);
  }
}

/** @param id of the charge or of the refund */
const asking = (id: string, body: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', 'idempotency-key': id },
  body: JSON.stringify(body),
});

interface Answer {
  status: number;
  /** A JSON value; `undefined` if the answer is not JSON. */
  body: unknown;
}

/** @throws Problem 503 `gateway_unavailable` if there is no complete answer */
async function exchange(url: string, request: RequestInit): Promise<Answer> {
  try {
    // A redirect must not decide which server moves the money.
    const answer = await fetch(url, { ...request, redirect: 'error' });
    return { status: answer.status, body: await bodyOf(answer) };
  } catch (error) {
    throw gatewayUnavailable(error);
  }
}

/** @throws Problem 503 `gateway_unavailable` if the answer is not a decision. The cause never quotes the answer, because causes are logged. */
function decisionOf(answer: Answer): Authorization {
  if (isSuccess(answer)) return { status: 'succeeded' };
  const decline = declined.safeParse(answer.body);
  if (answer.status === 402 && decline.success) return { status: 'failed', declineCode: decline.data.decline_code };
  throw notUnderstood(answer);
}

/** @throws Problem 503 `gateway_unavailable` if the answer is not a decision */
function refundDecisionOf(answer: Answer): RefundDecision {
  if (isSuccess(answer)) return { status: 'succeeded' };
  const refusal = refused.safeParse(answer.body);
  if (answer.status === 402 && refusal.success) {
    return { status: 'failed', failureCode: refusal.data.failure_code, isGivenUp: false };
  }
  throw notUnderstood(answer);
}

const isSuccess = ({ status, body }: Answer) => status === 200 && succeeded.safeParse(body).success;

const notUnderstood = ({ status }: Answer) =>
  gatewayUnavailable(
    new Error(`The gateway answered ${status}, and the answer is not a decision that this service understands`),
  );

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
