import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose request it is, once the guard has let it in. */
    accountId?: string;
  }
}

/** The account of a request that the guard has let in. Fails closed: without an account there is no request. */
export function accountOf({ accountId }: FastifyRequest): string {
  if (!accountId) throw new Error('A request reached its handler without an account');
  return accountId;
}

/** The id of the account that calls. */
export const CurrentAccount = createParamDecorator((_: unknown, context: ExecutionContext) =>
  accountOf(context.switchToHttp().getRequest<FastifyRequest>()),
);
