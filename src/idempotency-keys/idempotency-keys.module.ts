import { Module } from '@nestjs/common';
import { IdempotencyKeysController } from './idempotency-keys.controller.js';
import { IdempotencyKeysService } from './idempotency-keys.service.js';

/** Uses `IdempotencyModule`, which is global. */
@Module({ controllers: [IdempotencyKeysController], providers: [IdempotencyKeysService] })
export class IdempotencyKeysModule {}
