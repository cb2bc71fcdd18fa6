import { SetMetadata } from '@nestjs/common';
import { ApiParam } from '@nestjs/swagger';
import { CLIENT_ID } from './client-id.pipe.js';
import { IDEMPOTENCY_KEY_SCHEMA, PROBLEM_CODES } from './openapi.operations.js';
import type { ProblemCode } from './problem.js';

/** Documents the problems of an operation. The problems of `@Idempotent()` and of the limits of an account are added to them. */
export const ApiProblems = (...codes: ProblemCode[]) => SetMetadata(PROBLEM_CODES, codes);

/** Documents an id in the path that clients choose. */
export const ApiClientId = (name: string, example: string) =>
  ApiParam({ name, schema: { type: 'string', pattern: CLIENT_ID.source, example } });

/** Documents an idempotency key in the path. */
export const ApiKeyParameter = (name: string, example: string) =>
  ApiParam({ name, schema: { ...IDEMPOTENCY_KEY_SCHEMA, example } });
