import { z } from 'zod';
import type { Charge } from '../charge.entity.js';
import { type Authorization, type GatewayLimits, gatewayUnavailable, PaymentGateway } from './payment.gateway.js';

/** Maximum bytes of an answer. A decision takes less than a hundred bytes, and a longer answer must not fill the memory. */
const MAX_ANSWER_BYTES = 4_096;
/** A card number has at least 13 digits, and must not be stored. A decline code never needs as many. */
const MAX_DECLINE_CODE_DIGITS = 12;

const captured = z.looseObject({});
const unknownCharge = z.looseObject({ code: z.literal('charge_unknown') });
const declined = z.looseObject({
  // A word such as `do_not_honor` or `51`. It is stored and sent to the client, so it has a bound and plain characters.
  decline_code: z
    .string()
    .regex(/^[\w.-]{1,64}$/)
    .refine((code) => code.replace(/\D/g, '').length <= MAX_DECLINE_CODE_DIGITS),
});

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
 */
export class HttpGateway extends PaymentGateway {
  private readonly captures: string;

  constructor(url: string, limits: GatewayLimits) {
    super(limits);
    this.captures = `${url.replace(/\/$/, '')}/captures`;
  }

  protected async send(charge: Charge, giveUp: AbortSignal): Promise<Authorization> {
    const { account_id, id, amount, currency, source } = charge;
    const { status, body } = await exchange(this.captures, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': id },
      body: JSON.stringify({ account_id, charge_id: id, amount, currency, source }),
      signal: giveUp,
    });
    return decisionOf(status, body);
  }

  protected async find({ id }: Charge, giveUp: AbortSignal): Promise<Authorization | undefined> {
    const { status, body } = await exchange(`${this.captures}/${id}`, { signal: giveUp });
    return status === 404 && unknownCharge.safeParse(body).success ? undefined : decisionOf(status, body);
  }
}

/** @throws Problem 503 `gateway_unavailable` if there is no complete answer */
async function exchange(url: string, request: RequestInit): Promise<{ status: number; body: unknown }> {
  try {
    // A redirect must not decide which server takes the money.
    const answer = await fetch(url, { ...request, redirect: 'error' });
    return { status: answer.status, body: await bodyOf(answer) };
  } catch (error) {
    throw gatewayUnavailable(error);
  }
}

/** @throws Problem 503 `gateway_unavailable` if the answer is not a decision. The cause never quotes the answer, because causes are logged. */
function decisionOf(status: number, body: unknown): Authorization {
  if (status === 200 && captured.safeParse(body).success) return { status: 'succeeded' };
  const decline = declined.safeParse(body);
  if (status === 402 && decline.success) return { status: 'failed', declineCode: decline.data.decline_code };
  throw gatewayUnavailable(
    new Error(`The gateway answered ${status}, and the answer is not a decision that this service understands`),
  );
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
