/** An answer of Stripe: a status and a JSON body. */
export interface StripeAnswer {
  status: number;
  body: object;
}

interface ErrorMembers {
  type: 'api_error' | 'card_error' | 'idempotency_error' | 'invalid_request_error';
  message: string;
  code?: string;
  decline_code?: string;
  param?: string;
  payment_intent?: object;
}

/** An error as Stripe answers it. Thrown while a request is checked, so it is not recorded under the idempotency key. */
export class StripeRefusal extends Error {
  readonly answer: StripeAnswer;

  constructor(status: number, error: ErrorMembers) {
    super(error.message);
    this.answer = { status, body: { error } };
  }
}

/** A 400 for a request that is not valid. */
export const invalid = (param: string, message: string, code?: string) =>
  new StripeRefusal(400, { type: 'invalid_request_error', message, param, code });

/** A 404 for an object that does not exist. */
export const missing = (param: string, id: string | undefined) =>
  new StripeRefusal(404, {
    type: 'invalid_request_error',
    code: 'resource_missing',
    message: `No such object: ${id}`,
    param,
  });
