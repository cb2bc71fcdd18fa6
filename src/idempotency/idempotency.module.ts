import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { GroupCommit } from './commit/group-commit.js';
import { Idempotency } from './idempotency.js';
import { IdempotencyInterceptor } from './http/idempotency.interceptor.js';
import { ConfigurableIdempotencyModule, IDEMPOTENCY_OPTIONS } from './idempotency.options.js';
import { IdempotencyStore } from './store/idempotency.store.js';
import { InFlight } from './commit/in-flight.js';
import { Recovery } from './upkeep/recovery.js';
import { ReplyCache } from './commit/reply-cache.js';
import { Sweeper } from './upkeep/sweeper.js';
import { WiringCheck } from './upkeep/wiring.check.js';

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
