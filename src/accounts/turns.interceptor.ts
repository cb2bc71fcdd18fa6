import { type CallHandler, type ExecutionContext, Inject, Injectable, type NestInterceptor } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { catchError, finalize, from, type Observable, switchMap } from 'rxjs';
import { CONFIG, type Config } from '../config.js';
import { Problem } from '../http/problem.js';
import { IDEMPOTENT } from '../idempotency/index.js';
import { bodyBytesOf } from './body-admission.js';
import { NoTurn, Turns } from './turns.js';

/** The same time that the pool lets a request wait for a connection. */
export const WITHIN_MS = 3_000;

/**
 * Limits the requests that run outside the group commit to half of the pool, and serves their accounts in turn.
 *
 * Each such request holds a connection while it runs, and the pool serves requests in the order of their arrival. Without this limit, one account
 * with many such requests would delay the commits of all other accounts.
 */
@Injectable()
export class TurnsInterceptor implements NestInterceptor {
  private readonly turns: Turns;

  constructor(
    private readonly reflector: Reflector,
    @Inject(CONFIG) { DATABASE_POOL_SIZE: connections }: Config,
  ) {
    this.turns = new Turns(Math.floor(connections / 2), WITHIN_MS);
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const { accountId } = request;
    // A request of a public route has no account, and DatabaseLooks limits its queries. Group commit has a fair queue of its own.
    const targets = [context.getHandler(), context.getClass()];
    if (accountId === undefined || this.reflector.getAllAndOverride(IDEMPOTENT, targets) !== undefined) {
      return next.handle();
    }
    return from(this.turns.wait(accountId, bodyBytesOf(request))).pipe(
      catchError(noTurn),
      switchMap((end) => next.handle().pipe(finalize(end))),
    );
  }
}

/** Turns the refusal of {@link Turns} into a problem. */
export function noTurn(error: unknown): never {
  if (!(error instanceof NoTurn)) throw error;
  const options = { outcome: 'not_started', retryAfterSeconds: 1, cause: error } as const;
  if (error.reason === 'too much waits') {
    throw new Problem('overloaded', 'The account has too many waiting requests, and nothing was started.', options);
  }
  const detail = `The request waited ${WITHIN_MS / 1000} s for a database connection, and nothing was started.`;
  throw new Problem('database_unavailable', detail, options);
}
