import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { Committer } from './commit/committer.js';
import { GroupCommit } from './commit/group-commit.js';
import { GroupStore } from './commit/group.store.js';
import { InFlight } from './commit/in-flight.js';
import { OneByOne } from './commit/one-by-one.js';
import { ReplyCache } from './commit/reply-cache.js';
import { IdempotencyInterceptor } from './http/idempotency.interceptor.js';
import { Operations } from './http/operations.js';
import { Idempotency } from './idempotency.js';
import {
  ConfigurableIdempotencyModule,
  GIVEN_OPTIONS,
  IDEMPOTENCY_DEFAULTS,
  IDEMPOTENCY_OPTIONS,
  type IdempotencyModuleOptions,
  type IdempotencyOptions,
} from './idempotency.options.js';
import { IdempotencyStore } from './store/idempotency.store.js';
import { Recovery } from './upkeep/recovery.js';
import { ResumeRegistry } from './http/resumes.js';
import { Sweeper } from './upkeep/sweeper.js';
import { UpkeepStore } from './upkeep/upkeep.store.js';
import { WiringCheck } from './upkeep/wiring.check.js';

const withDefaults = (given: IdempotencyModuleOptions): IdempotencyOptions => ({ ...IDEMPOTENCY_DEFAULTS, ...given });

/** A maximum of 1 selects the plain committer, because a group of one request has no advantage and adds a queue. */
const committerOf = ({ maxGroupSize }: IdempotencyOptions, plain: OneByOne, fast: GroupCommit): Committer =>
  maxGroupSize === 1 ? plain : fast;

const cacheOf = ({ cacheBytes }: IdempotencyOptions) => (cacheBytes >= 1 ? new ReplyCache(cacheBytes) : undefined);

/** Needs a TypeORM `DataSource` on PostgreSQL and `ScheduleModule.forRoot()` in the application. */
@Module({
  imports: [DiscoveryModule],
  providers: [
    { provide: IDEMPOTENCY_OPTIONS, useFactory: withDefaults, inject: [GIVEN_OPTIONS] },
    IdempotencyStore,
    OneByOne,
    GroupStore,
    GroupCommit,
    { provide: Committer, useFactory: committerOf, inject: [IDEMPOTENCY_OPTIONS, OneByOne, GroupCommit] },
    InFlight,
    { provide: ReplyCache, useFactory: cacheOf, inject: [IDEMPOTENCY_OPTIONS] },
    Idempotency,
    IdempotencyInterceptor,
    UpkeepStore,
    Operations,
    ResumeRegistry,
    Recovery,
    Sweeper,
    WiringCheck,
  ],
  exports: [Idempotency, IdempotencyInterceptor, IdempotencyStore, Recovery, Sweeper, UpkeepStore, IDEMPOTENCY_OPTIONS],
})
export class IdempotencyModule extends ConfigurableIdempotencyModule {}
