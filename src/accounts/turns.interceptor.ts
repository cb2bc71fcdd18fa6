import { type CallHandler, type ExecutionContext, Inject, Injectable, type NestInterceptor } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { catchError, finalize, from, type Observable, switchMap } from 'rxjs';
import { CONFIG, type Config } from '../config.js';
import { Problem } from '../http/problem.js';
import { IDEMPOTENT } from '../idempotency/index.js';
import { bodyBytesOf } from './body-admission.js';
import { NoTurn, Turns } from './turns.js';

/** As long as the pool lets a request wait for a connection. */
const WITHIN_MS = 3_000;

/**
 * Lets the requests that run outside the groups of `idempotency/` use at most half of the pool, accounts in turn. Each of them holds a connection
 * while it runs, and the pool serves whoever asks first, so without this one account with many of them would keep the commits of
 * all others waiting.
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
    // Public routes belong to no account, and take turns of their own.
    if (accountId === undefined || this.reflector.get(IDEMPOTENT, context.getHandler()) !== undefined) {
      return next.handle();
    }
    return from(this.turns.wait(accountId, bodyBytesOf(request))).pipe(
      catchError(noTurn),
      switchMap((end) => next.handle().pipe(finalize(end))),
    );
  }
}

function noTurn(error: unknown): never {
  if (!(error instanceof NoTurn)) throw error;
  const options = { outcome: 'not_started', retryAfterSeconds: 1, cause: error } as const;
  if (error.reason === 'too much waits') {
    throw new Problem('overloaded', 'The account has too many requests waiting; nothing was started.', options);
  }
  const detail = `The request waited ${WITHIN_MS / 1000} s for its turn at the database; nothing was started.`;
  throw new Problem('database_unavailable', detail, options);
}
