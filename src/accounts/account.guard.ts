import { createHash, timingSafeEqual } from 'node:crypto';
import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { CONFIG, type Config } from '../config.js';
import { Problem } from '../http/problem.js';
import { PUBLIC } from './public.decorator.js';

/** The account of everybody while no API keys are configured; the server is on loopback then. */
export const DEMO_ACCOUNT = 'acct_demo';

/** Finds out whose request it is. Guards run before interceptors, so a replay needs the API key as well. */
@Injectable()
export class AccountGuard implements CanActivate {
  private readonly publicHandlers = new WeakMap<object, boolean>();
  private readonly keys: { accountId: string; digest: Buffer }[] | undefined;

  constructor(
    private readonly reflector: Reflector,
    @Inject(CONFIG) config: Config,
  ) {
    this.keys = config.API_KEYS?.map(({ accountId, secret }) => ({ accountId, digest: digest(secret) }));
  }

  canActivate(context: ExecutionContext): boolean {
    if (this.isPublic(context)) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    request.accountId = this.keys ? this.accountOf(request.headers.authorization, this.keys) : DEMO_ACCOUNT;
    return true;
  }

  /** Looked up once for each handler. */
  private isPublic(context: ExecutionContext): boolean {
    const handler = context.getHandler();
    let known = this.publicHandlers.get(handler);
    if (known === undefined) {
      known = this.reflector.getAllAndOverride<boolean | undefined>(PUBLIC, [handler, context.getClass()]) ?? false;
      this.publicHandlers.set(handler, known);
    }
    return known;
  }

  private accountOf(authorization: string | undefined, keys: { accountId: string; digest: Buffer }[]): string {
    const secret = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    const given = digest(secret ?? '');
    // Every key is compared, in constant time and as a digest, so the time taken tells neither length nor position.
    const matches = keys.filter((key) => timingSafeEqual(key.digest, given));
    const account = secret === undefined ? undefined : matches[0]?.accountId;
    if (account !== undefined) return account;
    throw new Problem('unauthorized', 'Expected Authorization: Bearer <secret> with the secret of an account.', {
      headers: { 'www-authenticate': 'Bearer' },
    });
  }
}

const digest = (secret: string) => createHash('sha256').update(secret).digest();
