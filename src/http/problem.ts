import { IDEMPOTENCY_ERRORS, type IdempotencyError, type Outcome } from '../idempotency/index.js';

interface Definition {
  status: number;
  title: string;
  /** The advice to the client, on the page that `type` links to. */
  advice: string;
}

const statusOf = (code: IdempotencyError['code']) => IDEMPOTENCY_ERRORS[code].getStatus();

/** Every error that this service answers with. Each code has one status and one title. */
export const PROBLEMS = {
  validation_failed: {
    status: 400,
    title: 'The request is not valid',
    advice: 'Correct the members listed in `errors`. Nothing was recorded, so the same idempotency key may be used.',
  },
  malformed_json: {
    status: 400,
    title: 'The body is not valid JSON',
    advice: 'Send one JSON object in UTF-8. Nothing was recorded, so the same idempotency key may be used.',
  },
  malformed_request: {
    status: 400,
    title: 'The request is not valid HTTP',
    advice: 'Check the URL, its percent-encoding, and the headers.',
  },
  card_data_refused: {
    status: 400,
    title: 'Card data is not accepted',
    advice:
      'Send a token such as tok_visa instead of a card number or a CVC. The card data was neither stored nor logged.',
  },
  signature_invalid: {
    status: 400,
    title: 'The signature is not valid',
    advice:
      'Sign the bytes of the body with the secret of this endpoint, as Stripe does, and send the event within five minutes. Nothing was recorded.',
  },
  idempotency_key_missing: {
    status: statusOf('idempotency_key_missing'),
    title: 'An idempotency key is required',
    advice:
      'Send an Idempotency-Key header: a new value for every new request, and the same value for every retry of that request.',
  },
  idempotency_key_invalid: {
    status: statusOf('idempotency_key_invalid'),
    title: 'The idempotency key is not valid',
    advice: 'Send one Idempotency-Key header with 1 to 255 visible ASCII characters, bare or in double quotes.',
  },
  unauthorized: {
    status: 401,
    title: 'The API key is missing or unknown',
    advice: 'Send `Authorization: Bearer` with the secret of an account.',
  },
  card_declined: {
    status: 402,
    title: 'The card was declined',
    advice: 'No money was taken. The answer is final for this idempotency key; use a new key for a new attempt.',
  },
  refund_failed: {
    status: 402,
    title: 'The bank refused the refund',
    advice:
      'No money was returned, and the amount can be refunded again. The answer is final for this idempotency key; use a new key for a new attempt.',
  },
  not_found: {
    status: 404,
    title: 'Not found',
    advice: 'Check the id. An account finds only its own objects.',
  },
  route_not_found: {
    status: 404,
    title: 'Route not found',
    advice: 'Use a route that /docs lists.',
  },
  method_not_allowed: {
    status: 405,
    title: 'The route does not support this method',
    advice: 'Use a method that the Allow header lists.',
  },
  request_timeout: {
    status: 408,
    title: 'The request did not arrive in time',
    advice: 'Nothing was started. Send the same request with the same key again, on a new connection.',
  },
  idempotency_key_in_progress: {
    status: statusOf('idempotency_key_in_progress'),
    title: 'The first request with this key is still being processed',
    advice: 'Wait as long as Retry-After says, then send the same request with the same key again to get its reply.',
  },
  charge_pending: {
    status: 409,
    title: 'The charge is pending',
    advice:
      'Nothing was started or recorded. Wait until the charge has succeeded, then send the same request with the same key again.',
  },
  refund_exceeds_charge: {
    status: 409,
    title: 'The refund exceeds the charge',
    advice:
      'Nothing was refunded. `refundable` is the amount of the charge that was left, in minor units. Pending refunds count as refunded. A retry with the same idempotency key gets this answer again. Send a smaller refund with a new key.',
  },
  insufficient_stock: {
    status: 409,
    title: 'Insufficient stock',
    advice:
      'Nothing was ordered and no stock was taken. `items` lists the missing stock. A retry with the same idempotency key gets this answer again. Send the order with a new key, or without a key, when there is more stock.',
  },
  version_mismatch: {
    status: 412,
    title: 'The version is not current',
    advice:
      'Another request changed the resource first, so nothing was changed. Read the resource again, decide again, and send its new version in If-Match. If you use an idempotency key, use a new one.',
  },
  body_too_large: {
    status: 413,
    title: 'The body is too large',
    advice: 'Send at most 256 KiB.',
  },
  url_too_long: {
    status: 414,
    title: 'The URL is too long',
    advice: 'Send a shorter URL. The URLs of all ids and keys are shorter than the limit.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The body has the wrong media type',
    advice: 'Send Content-Type: application/json.',
  },
  idempotency_key_reused: {
    status: statusOf('idempotency_key_reused'),
    title: 'The idempotency key belongs to another request',
    advice:
      'A key stands for one request: its method, route, query and body, and its If-Match if the operation requires one. Use a new key for a new request.',
  },
  order_id_reused: {
    status: 422,
    title: 'The order_id belongs to another order',
    advice:
      'An order_id stands for one order with its items, currency and customer. Use a new order_id for a new order.',
  },
  version_required: {
    status: 428,
    title: 'A version is required',
    advice: 'Read the resource first and send its ETag in If-Match, so that you change the version that you have read.',
  },
  rate_limited: {
    status: 429,
    title: 'The account sends too many requests',
    advice:
      'Nothing was started or recorded. Wait as long as Retry-After says, then send the same request with the same key again. Replays count as requests.',
  },
  internal_error: {
    status: 500,
    title: 'Internal error',
    advice:
      'The service failed and logged the error under the X-Request-Id. A retry with the same idempotency key is safe.',
  },
  database_unavailable: {
    status: statusOf('database_unavailable'),
    title: 'The database is unavailable',
    advice: 'Send the same request with the same key again. `outcome` says whether this attempt may take effect.',
  },
  account_moving: {
    status: statusOf('account_moving'),
    title: 'The account is being moved',
    advice:
      'Send the same request with the same key again. The account moves to another database, which takes a few seconds. `outcome` says whether this attempt may take effect.',
  },
  overloaded: {
    status: statusOf('overloaded'),
    title: 'Too many requests are waiting',
    advice:
      'Nothing was started. Wait as long as Retry-After says, then send the same request with the same key again.',
  },
  gateway_unavailable: {
    status: 503,
    title: 'The payment gateway is unavailable',
    advice:
      'The charge or the refund is pending, and the service will finish it. Send the same request with the same key again to get its reply.',
  },
  charge_undecided: {
    status: 503,
    title: 'It is not known whether money was taken',
    advice:
      'An operator of this service has to decide, which can take hours. Until then the charge is pending. Send the same request with the same key again to get its reply.',
  },
  refund_undecided: {
    status: 503,
    title: 'It is not known whether money was returned',
    advice:
      'An operator of this service has to decide, which can take hours. Until then the refund is pending. Send the same request with the same key again to get its reply.',
  },
  shutting_down: {
    status: 503,
    title: 'This server is shutting down',
    advice: 'Send the same request with the same key again. Another server answers, or this server after its restart.',
  },
  gateway_timeout: {
    status: 504,
    title: 'The payment gateway did not answer in time',
    advice:
      'Money may have been moved. The service will ask the gateway again and finish the charge or the refund. Send the same request with the same key again to get its reply.',
  },
} as const satisfies Record<string, Definition>;

export type ProblemCode = keyof typeof PROBLEMS;

export interface ProblemOptions {
  /** The conclusion that the client may draw about the effect of the request. The default is `not_started`, because most problems refuse a request before it has an effect. */
  outcome?: Outcome;
  /** Seconds for `Retry-After`. A problem with this option is retryable. */
  retryAfterSeconds?: number;
  /** Further members of the body, RFC 9457 §3.2. */
  extensions?: Record<string, unknown>;
  /** Further headers that HTTP requires for the status, such as `allow`. */
  headers?: Record<string, string>;
  cause?: unknown;
}

export const PROBLEM_MEDIA_TYPE = 'application/problem+json; charset=utf-8';

/** A problem as the client receives it. `body` is the problem details object of RFC 9457. */
export interface ProblemReply {
  status: number;
  headers: Record<string, string>;
  body: Record<string, unknown>;
}

/** An error as the client sees it. Throw it anywhere, and the filter answers with it. */
export class Problem extends Error {
  constructor(
    readonly code: ProblemCode,
    readonly detail: string,
    readonly options: ProblemOptions = {},
  ) {
    super(`${code}: ${detail}`, { cause: options.cause });
  }

  /** An error of the idempotency module as a problem: the same code, detail, outcome and `Retry-After`. */
  static of({ code, detail, outcome, retryAfterSeconds }: IdempotencyError): Problem {
    return new Problem(code, detail, { outcome, retryAfterSeconds });
  }

  /**
   * The problem as a reply that a phase returns, so that it is recorded and replayed. A problem that is thrown is not recorded. The two
   * cannot be confused, because a `Problem` itself is not a `Reply`.
   */
  toReply(): ProblemReply {
    return { status: this.status, headers: this.headers, body: this.body };
  }

  get status(): number {
    return PROBLEMS[this.code].status;
  }

  /** The problem details object, RFC 9457, with our `code`, `retryable` and `outcome`. */
  private get body(): Record<string, unknown> {
    const { outcome = 'not_started', retryAfterSeconds, extensions } = this.options;
    const { status, title } = PROBLEMS[this.code];
    return {
      type: `/docs/errors#${this.code}`,
      title,
      status,
      detail: this.detail,
      code: this.code,
      retryable: retryAfterSeconds !== undefined,
      outcome,
      ...extensions,
    };
  }

  private get headers(): Record<string, string> {
    const { retryAfterSeconds, headers } = this.options;
    return {
      'content-type': PROBLEM_MEDIA_TYPE,
      ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }),
      ...headers,
    };
  }
}
