// Goal: prove that the guard finds an account by its secret, and that a wrong secret costs at most one comparison.
// Method: call the guard with a thousand accounts and count the comparisons in constant time.
import crypto from 'node:crypto';
import { describe, expect, it, jest } from '@jest/globals';
import type { ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { loadConfig } from '../../src/config.js';

/** Counts the comparisons in constant time. The guard must use no other comparison of secrets. */
const timingSafeEqual = jest.fn(crypto.timingSafeEqual);
jest.unstable_mockModule('node:crypto', () => ({ ...crypto, timingSafeEqual }));
const { AccountGuard } = await import('../../src/accounts/account.guard.js');
const { ApiKeys } = await import('../../src/accounts/api-keys.js');

const ACCOUNTS = 1_000;
const API_KEYS = Array.from({ length: ACCOUNTS }, (_, i) => `acct_${i}:sk_${i}`).join();
const guard = new AccountGuard(new Reflector(), new ApiKeys(loadConfig({ API_KEYS })));

/** Sends a request with this secret through the guard. Returns the account that the guard found. */
function accountFor(secret: string): string | undefined {
  const request: { headers: object; accountId?: string } = { headers: { authorization: `Bearer ${secret}` } };
  const context = {
    getHandler: () => accountFor,
    getClass: () => Object,
    switchToHttp: () => ({ getRequest: () => request }),
  };
  guard.canActivate(context as unknown as ExecutionContext);
  return request.accountId;
}

describe('AccountGuard', () => {
  it.each(['first', 'last'])('finds the %s of a thousand accounts by its secret', (which) => {
    const i = which === 'first' ? 0 : ACCOUNTS - 1;
    expect(accountFor(`sk_${i}`)).toBe(`acct_${i}`);
  });

  it('compares a wrong secret with at most one of a thousand, so that wrong secrets cost little time', () => {
    timingSafeEqual.mockClear();
    for (const secret of ['sk_', 'sk_1000', 'acct_1', 'x'.repeat(10_000)]) {
      expect(() => accountFor(secret)).toThrow(/unauthorized/);
      expect(timingSafeEqual.mock.calls.length).toBeLessThanOrEqual(1);
      timingSafeEqual.mockClear();
    }
  });
});
