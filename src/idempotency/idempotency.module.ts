import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { GroupCommit } from './group-commit.js';
import { Idempotency } from './idempotency.js';
import { IdempotencyInterceptor } from './idempotency.interceptor.js';
import { ConfigurableIdempotencyModule, IDEMPOTENCY_OPTIONS } from './idempotency.options.js';
import { IdempotencyStore } from './idempotency.store.js';
import { InFlight } from './in-flight.js';
import { Recovery } from './recovery.js';
import { ReplyCache } from './reply-cache.js';
import { Sweeper } from './sweeper.js';
import { WiringCheck } from './wiring.check.js';

/** Needs a TypeORM `DataSource` on PostgreSQL and `ScheduleModule.forRoot()` in the application. */
@Module({
  imports: [DiscoveryModule],
  providers: [
    ReplyCache,
    IdempotencyStore,
    InFlight,
    GroupCommit,
    Idempotency,
    IdempotencyInterceptor,
    Recovery,
    Sweeper,
    WiringCheck,
  ],
  exports: [Idempotency, IdempotencyInterceptor, IdempotencyStore, Recovery, Sweeper, IDEMPOTENCY_OPTIONS],
})
export class IdempotencyModule extends ConfigurableIdempotencyModule {}
