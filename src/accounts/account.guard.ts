import { createHmac, randomBytes } from 'node:crypto';
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
  /** Account ids by the digest of their secret. */
  private readonly accounts: ReadonlyMap<string, string> | undefined;

  constructor(
    private readonly reflector: Reflector,
    @Inject(CONFIG) config: Config,
  ) {
    if (config.API_KEYS) {
      this.accounts = new Map(config.API_KEYS.map(({ accountId, secret }) => [digest(secret), accountId]));
    }
  }

  canActivate(context: ExecutionContext): boolean {
    if (this.isPublic(context)) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    request.accountId = this.accounts ? accountOf(request.headers.authorization, this.accounts) : DEMO_ACCOUNT;
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
}

/**
 * Finds the account in one look-up, however many accounts there are, so a request with a wrong secret is cheap.
 *
 * Secrets are compared in constant time: the time of the look-up depends on the digests alone, and their key is random, so a
 * caller neither knows nor chooses the digest of a guess, and learns nothing from how much of it equals a known digest.
 */
function accountOf(authorization: string | undefined, accounts: ReadonlyMap<string, string>): string {
  const secret = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  const account = secret === undefined ? undefined : accounts.get(digest(secret));
  if (account !== undefined) return account;
  throw new Problem('unauthorized', 'Expected Authorization: Bearer <secret> with the secret of an account.', {
    headers: { 'www-authenticate': 'Bearer' },
  });
}

/** Known to this process only. With a plain hash, a caller could compute guesses whose digests begin as a known one may. */
const DIGEST_KEY = randomBytes(32);
const digest = (secret: string) => createHmac('sha256', DIGEST_KEY).update(secret).digest('hex');
