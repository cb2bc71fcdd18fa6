import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { CONFIG, type Config } from '../config.js';
import { Problem } from '../http/problem.js';

/**
 * Refuses the requests that an account sends beyond `RATE_LIMIT_PER_SECOND`, replays included, so that one account cannot take
 * all of a process from the others. It runs behind the guard that finds out whose request it is, and before anything reads
 * the idempotency key or parses the body, so that nothing is recorded (docs/adr/0019).
 */
@Injectable()
export class RateLimitGuard implements CanActivate {
  private readonly limiter: RateLimiterMemory | undefined;

  constructor(@Inject(CONFIG) { RATE_LIMIT_PER_SECOND: points }: Config) {
    // One counter for each account, which the API keys limit, and one timer for each second of an account.
    if (points > 0) this.limiter = new RateLimiterMemory({ points, duration: 1 });
  }

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const { accountId } = context.switchToHttp().getRequest<FastifyRequest>();
    // Public routes belong to no account.
    if (!this.limiter || accountId === undefined) return true;
    return this.limiter.consume(accountId).then(() => true, refuse);
  }
}

function refuse(reason: unknown): never {
  if (!(reason instanceof RateLimiterRes)) throw reason;
  throw new Problem(
    'rate_limited',
    'The account sends more requests in a second than are accepted; nothing was started.',
    {
      retryAfterSeconds: Math.max(1, Math.ceil(reason.msBeforeNext / 1000)),
    },
  );
}
