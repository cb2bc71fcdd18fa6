import { ApiProperty, getSchemaPath, type OpenAPIObject } from '@nestjs/swagger';
import { IDEMPOTENCY_ERRORS, type IdempotencyError } from '../idempotency/index.js';
import { Problem, type ProblemCode, type ProblemOptions, PROBLEMS } from './problem.js';

/** The schema of every error, RFC 9457. */
export class ProblemDetails {
  @ApiProperty({ format: 'uri-reference', description: 'A link into these docs' })
  type!: string;

  @ApiProperty()
  title!: string;

  @ApiProperty({ type: 'integer' })
  status!: number;

  @ApiProperty()
  detail!: string;

  @ApiProperty({ enum: Object.keys(PROBLEMS) })
  code!: string;

  @ApiProperty({ description: 'Whether to send the same request again. Retry-After says when' })
  retryable!: boolean;

  @ApiProperty({
    enum: ['not_started', 'unknown', 'final'],
    description:
      'not_started: this attempt did nothing. unknown: this attempt may take effect, and the service will finish it. final: a retry gets the same answer.',
  })
  outcome!: string;
}

type Responses = NonNullable<OpenAPIObject['paths'][string]['get']>['responses'];

/** The options of the examples that the idempotency module does not decide. */
const EXAMPLE_OPTIONS: Partial<Record<ProblemCode, ProblemOptions>> = {
  validation_failed: { extensions: { errors: [{ field: 'amount', message: 'expected at least 1' }] } },
  insufficient_stock: {
    extensions: { items: [{ item_id: 'espresso_beans', requested: 2, available: 1 }] },
  },
  order_id_reused: { outcome: 'final' },
  version_mismatch: { outcome: 'final' },
  card_declined: { outcome: 'final', extensions: { decline_code: 'generic_decline' } },
  refund_failed: {
    outcome: 'final',
    extensions: { failure_code: 'charge_disputed', refund_id: 're_019ab9f2c0de7a3c8f21d5b6e7a8c9d1' },
  },
  charge_pending: { retryAfterSeconds: 1 },
  refund_exceeds_charge: { outcome: 'final', extensions: { refundable: 500 } },
  rate_limited: { retryAfterSeconds: 1 },
  gateway_unavailable: { outcome: 'unknown', retryAfterSeconds: 1 },
  gateway_timeout: { outcome: 'unknown', retryAfterSeconds: 1 },
  charge_undecided: { outcome: 'unknown', retryAfterSeconds: 60 },
  refund_undecided: { outcome: 'unknown', retryAfterSeconds: 60 },
  shutting_down: { retryAfterSeconds: 1 },
};

/** Documents problems: one response for each status, and in it one example for each code. */
export function problemResponses(codes: Iterable<ProblemCode>): Responses {
  const responses: Responses = {};
  for (const [status, group] of byStatus(codes)) {
    responses[status] = {
      description: group.map((code) => `\`${code}\`: ${PROBLEMS[code].advice}`).join('\n\n'),
      content: {
        'application/problem+json': {
          schema: { $ref: getSchemaPath(ProblemDetails) },
          examples: Object.fromEntries(group.map((code) => [code, { value: exampleOf(code).toReply().body }])),
        },
      },
    };
  }
  return responses;
}

// The class that makes the answers makes the examples as well, so they have the same shape.
function exampleOf(code: ProblemCode): Problem {
  const error = isOfIdempotency(code) ? Problem.of(IDEMPOTENCY_ERRORS[code]) : undefined;
  return error ?? new Problem(code, PROBLEMS[code].title, EXAMPLE_OPTIONS[code]);
}

const isOfIdempotency = (code: ProblemCode): code is IdempotencyError['code'] => code in IDEMPOTENCY_ERRORS;

function byStatus(codes: Iterable<ProblemCode>): Map<number, ProblemCode[]> {
  const groups = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = PROBLEMS[code];
    groups.set(status, [...(groups.get(status) ?? []), code]);
  }
  return groups;
}
