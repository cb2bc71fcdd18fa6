import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiHeader, ApiParam, ApiProperty, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import { IDEMPOTENCY_KEY_MAX_LENGTH, type IdempotentHandler } from '../idempotency/index.js';
import { CLIENT_ID } from './client-id.pipe.js';
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

  @ApiProperty({ description: 'Whether sending the same request again makes sense; Retry-After says when' })
  retryable!: boolean;

  @ApiProperty({
    enum: ['not_started', 'unknown', 'final'],
    description:
      'not_started: this attempt did nothing. unknown: it may take effect, and will be finished. final: the answer stands, a retry gets the same.',
  })
  outcome!: string;
}

// Examples are made by the class that makes the answers.
const EXAMPLE_OPTIONS: Partial<Record<ProblemCode, ProblemOptions>> = {
  validation_failed: { extensions: { errors: [{ field: 'amount', message: 'expected at least 1' }] } },
  insufficient_stock: {
    extensions: { items: [{ item_id: 'espresso_beans', requested: 2, available: 1 }] },
  },
  order_id_reused: { outcome: 'final' },
  version_mismatch: { outcome: 'final' },
  card_declined: { outcome: 'final', extensions: { decline_code: 'generic_decline' } },
  idempotency_key_in_progress: { outcome: 'unknown', retryAfterSeconds: 1 },
  rate_limited: { retryAfterSeconds: 1 },
  database_unavailable: { retryAfterSeconds: 1 },
  overloaded: { retryAfterSeconds: 1 },
  gateway_unavailable: { outcome: 'unknown', retryAfterSeconds: 1 },
  gateway_timeout: { outcome: 'unknown', retryAfterSeconds: 1 },
  shutting_down: { retryAfterSeconds: 1 },
};

/**
 * Documents the errors of an operation: one response for each status, one example for each code. A route that needs an account
 * can also meet the limits of the account.
 */
export function ApiProblems(...codes: ProblemCode[]) {
  const limits: ProblemCode[] = codes.includes('unauthorized') ? ['rate_limited', 'overloaded'] : [];
  const byStatus = groupByStatus([...codes, ...limits]);
  return applyDecorators(
    ApiExtraModels(ProblemDetails),
    ...[...byStatus].map(([status, group]) =>
      ApiResponse({
        status,
        description: group.map((code) => `\`${code}\`: ${PROBLEMS[code].advice}`).join('\n\n'),
        content: {
          'application/problem+json': {
            schema: { $ref: getSchemaPath(ProblemDetails) },
            examples: Object.fromEntries(
              group.map((code) => [
                code,
                { value: new Problem(code, PROBLEMS[code].title, EXAMPLE_OPTIONS[code]).toReply().body },
              ]),
            ),
          },
        },
      }),
    ),
  );
}

/** Documents an id in the path that clients choose. */
export const ApiClientId = (name: string, example: string) =>
  ApiParam({ name, schema: { type: 'string', pattern: CLIENT_ID.source, example } });

/** An idempotency key, bare or as a quoted string, in which \" and \\ stand for one character each. */
const IDEMPOTENCY_KEY = `^(?:[!#-~]{1,${IDEMPOTENCY_KEY_MAX_LENGTH}}|"(?:[!#-\\[\\]-~]|\\\\["\\\\]){1,${IDEMPOTENCY_KEY_MAX_LENGTH}}")$`;

/** Documents an idempotency key in the path. */
export const ApiKeyParameter = (name: string) =>
  ApiParam({ name, schema: { type: 'string', pattern: IDEMPOTENCY_KEY, example: 'order_12345' } });

/** Documents that an operation is idempotent by key, what follows for its callers, and its other errors, `codes`. */
export function ApiIdempotent(key: NonNullable<IdempotentHandler['key']>, ...codes: ProblemCode[]) {
  return applyDecorators(
    ApiHeader({
      name: 'Idempotency-Key',
      required: key === 'required',
      description:
        'Names the operation: a new value for every new one, the same value for every retry. 1 to 255 visible ASCII characters, bare or in double quotes. Kept for 24 hours by default.',
      schema: { type: 'string', pattern: IDEMPOTENCY_KEY },
      example: 'order_12345',
    }),
    ApiProblems(
      ...(key === 'required' ? (['idempotency_key_missing'] as const) : []),
      'idempotency_key_invalid',
      'idempotency_key_in_progress',
      'idempotency_key_reused',
      'database_unavailable',
      ...codes,
    ),
  );
}

function groupByStatus(codes: ProblemCode[]): Map<number, ProblemCode[]> {
  const groups = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = PROBLEMS[code];
    groups.set(status, [...(groups.get(status) ?? []), code]);
  }
  return groups;
}
