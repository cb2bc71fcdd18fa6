import { createHmac, randomBytes } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../config.js';
import { Problem } from '../http/problem.js';

/** The account of every client while no API keys are configured. The server then listens on loopback only. */
export const DEMO_ACCOUNT = 'acct_demo';

/** Finds accounts by their secrets. */
@Injectable()
export class ApiKeys {
  /** Account ids by the digest of their secret. */
  private readonly accounts: ReadonlyMap<string, string> | undefined;

  constructor(@Inject(CONFIG) config: Config) {
    if (config.API_KEYS) {
      this.accounts = new Map(config.API_KEYS.map(({ accountId, secret }) => [digest(secret), accountId]));
    }
  }

  /**
   * Finds the account of a request.
   *
   * One look-up is enough for any number of accounts, so a request with a wrong secret is cheap. The time of the look-up reveals nothing about
   * a secret, because it depends on digests only, and a caller cannot predict the digest of a guess: the key of the digests is random.
   *
   * @param authorization the value of the header
   * @throws Problem 401 if the header does not contain the secret of an account
   */
  accountOf(authorization: string | undefined): string {
    if (!this.accounts) return DEMO_ACCOUNT;
    const secret = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    const account = secret === undefined ? undefined : this.accounts.get(digest(secret));
    if (account !== undefined) return account;
    throw new Problem('unauthorized', 'Expected Authorization: Bearer <secret> with the secret of an account.', {
      headers: { 'www-authenticate': 'Bearer' },
    });
  }
}

/** Known only to this process. With a plain hash, a caller could choose guesses by their digests and learn a stored digest from the response times. */
const DIGEST_KEY = randomBytes(32);
const digest = (secret: string) => createHmac('sha256', DIGEST_KEY).update(secret).digest('hex');
