import type { Outcome } from '../idempotency/index.js';

interface Definition {
  status: number;
  title: string;
  /** For the page that `type` links to: what it means and what to do. */
  advice: string;
}

/** Every error this service answers with. One vocabulary: code, status and title belong together. */
export const PROBLEMS = {
  validation_failed: {
    status: 400,
    title: 'The request is not valid',
    advice: 'Correct the members listed in `errors`. Nothing was recorded, so the same idempotency key may be used.',
  },
  malformed_json: {
    status: 400,
    title: 'The body is not JSON that can be read',
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
      'Send a token such as tok_visa instead of a card number or a CVC. What was sent has not been stored or logged.',
  },
  idempotency_key_missing: {
    status: 400,
    title: 'An idempotency key is required',
    advice:
      'Send an Idempotency-Key header: a new value for every new operation, the same value for every retry of it.',
  },
  idempotency_key_invalid: {
    status: 400,
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
  not_found: {
    status: 404,
    title: 'There is no such thing',
    advice: 'Check the id. Another account’s objects do not exist for you.',
  },
  route_not_found: {
    status: 404,
    title: 'There is no such route',
    advice: 'The routes are listed at /docs.',
  },
  method_not_allowed: {
    status: 405,
    title: 'The route does not support this method',
    advice: 'The Allow header lists the methods that it supports.',
  },
  request_timeout: {
    status: 408,
    title: 'The request did not arrive in time',
    advice: 'Nothing was started. Send the same request with the same key again, on a new connection.',
  },
  idempotency_key_in_progress: {
    status: 409,
    title: 'The first request with this key is still being processed',
    advice: 'Wait as long as Retry-After says and send the same request again: you will get its reply.',
  },
  insufficient_stock: {
    status: 409,
    title: 'There is not enough in stock',
    advice:
      'Nothing was ordered and no stock was taken. `items` says what is missing. Under an idempotency key that answer is repeated; send the order with another, or without one, when there is more.',
  },
  version_mismatch: {
    status: 412,
    title: 'The version is not the current one',
    advice:
      'Somebody else was faster, and nothing was changed. Read it again, decide again, and send the new version in If-Match, with a new idempotency key if you use one.',
  },
  body_too_large: {
    status: 413,
    title: 'The body is too large',
    advice: 'Send at most 256 KiB.',
  },
  url_too_long: {
    status: 414,
    title: 'The URL is too long',
    advice: 'No id or key is that long.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The body has the wrong media type',
    advice: 'Send Content-Type: application/json.',
  },
  idempotency_key_reused: {
    status: 422,
    title: 'The idempotency key belongs to another request',
    advice:
      'A key stands for one request: method, route, body, and If-Match where that is required. Use a new key for a new operation.',
  },
  order_id_reused: {
    status: 422,
    title: 'The order_id belongs to another order',
    advice: 'An order_id stands for one order: its items, currency and customer. Use a new order_id for a new order.',
  },
  version_required: {
    status: 428,
    title: 'A version is required',
    advice: 'Read it first and send its ETag in If-Match, so that you change what you have read.',
  },
  rate_limited: {
    status: 429,
    title: 'The account sends too many requests',
    advice:
      'Nothing was started or recorded. Send the same request with the same key again, after `Retry-After`. Replays count as requests.',
  },
  internal_error: {
    status: 500,
    title: 'The service failed',
    advice:
      'The fault is ours and is in our log under the X-Request-Id. A retry with the same idempotency key is safe.',
  },
  database_unavailable: {
    status: 503,
    title: 'The database cannot be reached',
    advice: 'Send the same request with the same key again. `outcome` says whether this attempt may take effect.',
  },
  overloaded: {
    status: 503,
    title: 'Too many requests are waiting',
    advice: 'Nothing was started. Send the same request with the same key again, after `Retry-After`.',
  },
  gateway_unavailable: {
    status: 503,
    title: 'The payment gateway is unavailable',
    advice:
      'The charge is pending and will be finished. Send the same request with the same key again to get its reply.',
  },
  shutting_down: {
    status: 503,
    title: 'This server is shutting down',
    advice: 'Send the same request again: another server, or this one after its restart, will answer.',
  },
  gateway_timeout: {
    status: 504,
    title: 'The payment gateway did not answer in time',
    advice:
      'Money may have been taken. It will be found out; send the same request with the same key again to get the reply.',
  },
} as const satisfies Record<string, Definition>;

export type ProblemCode = keyof typeof PROBLEMS;

export interface ProblemOptions {
  /** What the client may conclude; `not_started` for everything that is refused before it has an effect. */
  outcome?: Outcome;
  /** Seconds for `Retry-After`. Present means retryable. */
  retryAfterSeconds?: number;
  /** Further members of the body, RFC 9457 §3.2. */
  extensions?: Record<string, unknown>;
  /** Further headers that the status demands, such as `allow`. */
  headers?: Record<string, string>;
  cause?: unknown;
}

export const PROBLEM_MEDIA_TYPE = 'application/problem+json; charset=utf-8';

/** A problem as it is sent: `body` is the problem details object of RFC 9457. */
export interface ProblemReply {
  status: number;
  headers: Record<string, string>;
  body: Record<string, unknown>;
}

/** An error as its client will see it. Throw it anywhere; the filter answers with it. */
export class Problem extends Error {
  constructor(
    readonly code: ProblemCode,
    readonly detail: string,
    readonly options: ProblemOptions = {},
  ) {
    super(`${code}: ${detail}`, { cause: options.cause });
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

/** A member that is not as expected. */
export interface FieldError {
  field: string;
  message: string;
}

/** The answer to one bad request must not grow with the request. */
const MAX_ERRORS = 20;

/**
 * 400, with the first members that are wrong and what was expected of them. Messages never repeat a value.
 *
 * @param errors all of them; those beyond the first 20 are only counted
 */
export function validationFailed(...errors: FieldError[]): Problem {
  const listed = errors.slice(0, MAX_ERRORS);
  const details = listed.map(({ field, message }) => `${field}: ${message}`);
  if (errors.length > listed.length) details.push(`and ${errors.length - listed.length} more`);
  return new Problem('validation_failed', details.join('; '), { extensions: { errors: listed } });
}
