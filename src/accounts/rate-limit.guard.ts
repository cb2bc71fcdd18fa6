import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { CONFIG, type Config } from '../config.js';
import { Problem } from '../http/problem.js';

/**
 * Refuses the requests of an account that exceed `RATE_LIMIT_PER_SECOND`, so that one account cannot occupy a whole process. Replays count as
 * requests (docs/adr/0019-a-rate-limit-for-each-account.md).
 */
@Injectable()
export class RateLimitGuard implements CanActivate {
  private readonly limiter: RateLimiterMemory | undefined;

  constructor(@Inject(CONFIG) { RATE_LIMIT_PER_SECOND: points }: Config) {
    // The limiter holds one counter and one timer for each active account, and the API keys limit the number of accounts.
    if (points > 0) this.limiter = new RateLimiterMemory({ points, duration: 1 });
  }

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const { accountId } = context.switchToHttp().getRequest<FastifyRequest>();
    // A request of a public route has no account.
    if (!this.limiter || accountId === undefined) return true;
    return this.limiter.consume(accountId).then(() => true, refuse);
  }
}

function refuse(reason: unknown): never {
  if (!(reason instanceof RateLimiterRes)) throw reason;
  throw new Problem(
    'rate_limited',
    'The account sends more requests per second than the limit allows, and nothing was started.',
    {
      retryAfterSeconds: Math.max(1, Math.ceil(reason.msBeforeNext / 1000)),
    },
  );
}
