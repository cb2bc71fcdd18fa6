import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible';
import { CONFIG, type Config } from '../config.js';
import { Problem } from '../http/problem.js';

/**
 * Answers 429 to an account that sends more than `RATE_LIMIT_PER_SECOND` requests to this process within a second. Replays
 * count as well, because they take the time of the process too.
 *
 * Runs before the idempotency key is read, so a refused request is not recorded, and the retry with the same key is the
 * first attempt. Counts in memory: `n` replicas let `n` times as many requests through.
 */
@Injectable()
export class RateLimitGuard implements CanActivate {
  private readonly limiter: RateLimiterMemory | undefined;

  constructor(@Inject(CONFIG) { RATE_LIMIT_PER_SECOND }: Config) {
    if (RATE_LIMIT_PER_SECOND) this.limiter = new RateLimiterMemory({ points: RATE_LIMIT_PER_SECOND, duration: 1 });
  }

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    // Public routes have no account.
    const { accountId } = context.switchToHttp().getRequest<Partial<FastifyRequest>>();
    if (!this.limiter || accountId === undefined) return true;
    return this.limiter.consume(accountId).then(
      () => true,
      ({ msBeforeNext }: RateLimiterRes) => {
        const retryAfterSeconds = Math.max(1, Math.ceil(msBeforeNext / 1000));
        throw new Problem('rate_limited', 'This account sends too many requests; nothing was started.', {
          retryAfterSeconds,
        });
      },
    );
  }
}
