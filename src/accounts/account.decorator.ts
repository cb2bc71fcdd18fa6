import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

declare module 'fastify' {
  interface FastifyRequest {
    /** The account of the request, set by the guard. */
    accountId?: string;
  }
}

/**
 * The account of a request, as the guard has set it.
 *
 * @throws Error if there is no account, so that a route without the guard fails instead of running for an unknown account
 */
export function accountOf({ accountId }: FastifyRequest): string {
  if (!accountId) throw new Error('A request reached its handler without an account');
  return accountId;
}

/** Injects the id of the account that sent the request. */
export const CurrentAccount = createParamDecorator((_: unknown, context: ExecutionContext) =>
  accountOf(context.switchToHttp().getRequest<FastifyRequest>()),
);
