import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { answerToOutage, IdempotencyError } from '../idempotency/index.js';
import { isAccountMoving } from '../postgres/database-errors.js';
import { Problem, type ProblemCode } from './problem.js';

const READING = ['GET', 'HEAD', 'OPTIONS'];

/** The problems for errors of Fastify and Nest, by status. The messages of these errors are not used, because they may quote the request. */
const BY_STATUS: Record<number, [ProblemCode, string]> = {
  400: ['malformed_request', 'Expected a well-formed request.'],
  404: ['route_not_found', 'Expected a route that /docs lists.'],
  413: ['body_too_large', 'Expected a body of at most 256 KiB.'],
  414: ['url_too_long', 'Expected a shorter URL.'],
  415: ['unsupported_media_type', 'Expected Content-Type: application/json.'],
};

/** Turns every error into a response, whether a handler, a guard, a pipe, Nest or Fastify threw it. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const problem = toProblem(error, request.method);
    if (problem.status >= 500) request.log.error({ reqId: request.id, err: error, code: problem.code }, problem.detail);
    sendProblem(http.getResponse<FastifyReply>(), problem);
  }
}

/** Sends a problem as `application/problem+json`. */
export function sendProblem(reply: FastifyReply, problem: Problem): void {
  const { status, headers, body } = problem.toReply();
  void reply.code(status).headers(headers).send(JSON.stringify(body));
}

/** Maps anything that was thrown to a Problem. Unknown errors become `internal_error`, without details. */
export function toProblem(error: unknown, method: string): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof IdempotencyError) return Problem.of(error);
  // The error does not say how far the request got, so a write may have taken effect.
  const outcome = READING.includes(method) ? 'not_started' : 'unknown';
  // A refused account is refused by the first statement that writes, so nothing was started.
  const outage = answerToOutage(error, isAccountMoving(error) ? 'not_started' : outcome);
  if (outage) return Problem.of(outage);
  const status = error instanceof HttpException ? error.getStatus() : (error as { statusCode?: number })?.statusCode;
  const known = BY_STATUS[status ?? 500];
  if (known) return new Problem(...known);
  return new Problem('internal_error', 'The service failed to process the request.', { outcome, retryAfterSeconds: 1 });
}
