import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { AccountGuard } from './account.guard.js';
import { IdempotencyKeysController } from './idempotency-keys.controller.js';

@Module({
  controllers: [IdempotencyKeysController],
  providers: [{ provide: APP_GUARD, useClass: AccountGuard }],
})
export class AccountsModule {}
