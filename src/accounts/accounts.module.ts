import { Module } from '@nestjs/common';
import { APP_GUARD, APP_INTERCEPTOR } from '@nestjs/core';
import { AccountGuard } from './account.guard.js';
import { ApiKeys } from './api-keys.js';
import { RateLimitGuard } from './rate-limit.guard.js';
import { TurnsInterceptor } from './turns.interceptor.js';

@Module({
  // They run in this order.
  providers: [
    ApiKeys,
    { provide: APP_GUARD, useClass: AccountGuard },
    { provide: APP_GUARD, useClass: RateLimitGuard },
    { provide: APP_INTERCEPTOR, useClass: TurnsInterceptor },
  ],
})
export class AccountsModule {}
