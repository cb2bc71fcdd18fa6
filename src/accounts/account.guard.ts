import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { ApiKeys } from './api-keys.js';
import { PUBLIC } from '../http/public.decorator.js';

/** Sets the account of a request from its API key. Guards run before interceptors, so a replay needs the API key as well. */
@Injectable()
export class AccountGuard implements CanActivate {
  private readonly publicHandlers = new WeakMap<object, boolean>();

  constructor(
    private readonly reflector: Reflector,
    private readonly apiKeys: ApiKeys,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    if (this.isPublic(context)) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    // The account of a request with a body is already known: admitBodies() checked the API key before the body was read.
    request.accountId ??= this.apiKeys.accountOf(request.headers.authorization);
    return true;
  }

  /** Whether a handler is `@Public()`. The metadata is read once for each handler, because this runs for every request. */
  private isPublic(context: ExecutionContext): boolean {
    const handler = context.getHandler();
    let known = this.publicHandlers.get(handler);
    if (known === undefined) {
      known = this.reflector.getAllAndOverride<boolean | undefined>(PUBLIC, [handler, context.getClass()]) ?? false;
      this.publicHandlers.set(handler, known);
    }
    return known;
  }
}
