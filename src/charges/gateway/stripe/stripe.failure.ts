import { type GatewayFault, gatewayUnavailable } from '../payment.gateway.js';

/** The members of an SDK error that are used here. `type` is the name of its class. */
interface SdkError {
  type?: string;
  statusCode?: number;
  code?: string;
  decline_code?: string;
  param?: string;
  requestId?: string;
  headers?: Record<string, string>;
  detail?: { code?: string };
}

/** The errors of the SDK for which a person has to correct the code or the settings, because no retry helps. */
const FAULTS: Readonly<Record<string, GatewayFault>> = {
  StripeIdempotencyError: 'idempotency',
  StripeInvalidRequestError: 'invalid_request',
  StripeAuthenticationError: 'authentication',
  StripePermissionError: 'permission',
};

/** The parameters that a client chooses. Stripe has limits for them that depend on its account and change. */
const CHOSEN_BY_CLIENT = ['amount', 'currency'];

/** A word. It is stored and sent to the client, so it has a bound and plain characters, and too few digits for a card number. */
const REASON = /^(?!(\D*\d){13})\w{1,64}$/;

/** Returns a code of Stripe as a decline code, or `fallback` if the code is missing or not a plain word. */
export const declineCodeOf = (code: string | undefined, fallback: string) =>
  code && REASON.test(code) ? code : fallback;

/**
 * An answer of Stripe that decides nothing, or a missing answer.
 *
 * Errors are logged, so this error has only what identifies the answer. The SDK's error also has the text and the headers of the answer, which may
 * quote the request and parts of the API key.
 */
export class StripeFailure extends Error {
  override readonly name = 'StripeFailure';
  /** Undefined if the failure is Stripe's, or of the network. */
  readonly fault: GatewayFault | undefined;
  /** Whether Stripe has recorded a failure of its own under the idempotency key, and answers every repetition with it. */
  readonly isRecorded: boolean;
  /** If Stripe refuses what the client has chosen, the reason. It is final only if there is no PaymentIntent yet. */
  readonly refusal: string | undefined;

  constructor(error: unknown) {
    const {
      type = 'unknown error',
      statusCode,
      code,
      decline_code,
      param,
      requestId,
      headers,
      detail,
    } = error as SdkError;
    const facts = { status: statusCode, code: code ?? detail?.code, param, request: requestId };
    const isOfClient = type === 'StripeInvalidRequestError' && CHOSEN_BY_CLIENT.includes(param ?? '');
    const isRefusal = type === 'StripeCardError' || isOfClient;
    const known = Object.entries(facts).filter(([, value]) => value !== undefined);
    super([`Stripe: ${type}`, ...known.map(([name, value]) => `${name} ${value}`)].join(', '));
    this.refusal = isRefusal ? declineCodeOf(decline_code ?? code, `${param ?? 'card'}_refused`) : undefined;
    this.fault = isRefusal ? undefined : FAULTS[type];
    this.isRecorded = (statusCode ?? 0) >= 500 && headers?.['idempotent-replayed'] === 'true';
  }
}

/** Gets a fault on our side, and the failure that shows it. */
export type ReportFault = (fault: GatewayFault, error: Error) => void;

/** The error without the text of Stripe's answer; undefined if the error is not of the SDK. */
export function failureOf(error: unknown): StripeFailure | undefined {
  if (error instanceof StripeFailure) return error;
  return (error as { type?: string }).type === undefined ? undefined : new StripeFailure(error);
}

/** Returns a failure as Problem 503 `gateway_unavailable`, after `report` got its fault. Returns any other error as it is. */
export function unavailable(error: unknown, report: ReportFault): unknown {
  if (!(error instanceof StripeFailure)) return error;
  if (error.fault) report(error.fault, error);
  return gatewayUnavailable(error);
}
