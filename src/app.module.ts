import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE } from '@nestjs/core';
import { ScheduleModule } from '@nestjs/schedule';
import { TypeOrmModule } from '@nestjs/typeorm';
import { accountOf } from './accounts/account.decorator.js';
import { AccountGuard } from './accounts/account.guard.js';
import { AccountsModule } from './accounts/accounts.module.js';
import { RateLimitGuard } from './accounts/rate-limit.guard.js';
import { TurnsInterceptor } from './accounts/turns.interceptor.js';
import { BalanceModule } from './balance/balance.module.js';
import { ChargesModule } from './charges/charges.module.js';
import { WebhooksModule } from './charges/webhooks/webhooks.module.js';
import { CONFIG, type Config } from './config.js';
import { CustomersModule } from './customers/customers.module.js';
import { dataSourceOptions } from './database/data-source.js';
import { DeadLettersModule } from './dead-letters/dead-letters.module.js';
import { ErrorsController } from './http/errors.controller.js';
import { HomeController } from './http/home.controller.js';
import { ProblemFilter } from './http/problem.filter.js';
import { SafeInputGuard } from './http/safe-input.guard.js';
import { InputValidationPipe } from './http/validation.pipe.js';
import { IdempotencyModule } from './idempotency/index.js';
import { IdempotencyKeysModule } from './idempotency-keys/idempotency-keys.module.js';
import { InventoryModule } from './inventory/inventory.module.js';
import { busOf, MessagingModule } from './messaging/index.js';
import { NotificationsModule } from './notifications/notifications.module.js';
import { OperationsModule } from './operations/operations.module.js';
import { OrdersModule } from './orders/orders.module.js';

/** The steps of every request, in the order in which they run. The interceptor of `@Idempotent()` belongs to handlers and runs after the global one. */
const REQUEST_PIPELINE: Provider[] = [
  // First, because every later step and every limit is about an account.
  { provide: APP_GUARD, useClass: AccountGuard },
  // Before the body is parsed, so that a refused request costs little, and before the key is read, so that nothing is recorded.
  { provide: APP_GUARD, useClass: RateLimitGuard },
  // Parses the body. A guard and not a pipe, because the idempotency interceptor hashes the body before pipes run.
  { provide: APP_GUARD, useClass: SafeInputGuard },
  // After the guards, so that refused requests do not wait for a turn.
  { provide: APP_INTERCEPTOR, useClass: TurnsInterceptor },
  // After the interceptors, so that a replay from memory skips validation: the same request was valid before.
  { provide: APP_PIPE, useClass: InputValidationPipe },
  // Last, because it answers the errors of all steps above.
  { provide: APP_FILTER, useClass: ProblemFilter },
];

@Module({})
export class AppModule {
  /**
   * The whole service as one module.
   *
   * @param databaseUrl the URL at which the database of `config` runs
   */
  static register(config: Config, databaseUrl: string): DynamicModule {
    return {
      module: AppModule,
      global: true,
      imports: [
        TypeOrmModule.forRoot({
          ...dataSourceOptions(databaseUrl, config.DATABASE_POOL_SIZE, config.DATABASE_SESSION_SETTINGS),
          retryAttempts: 0,
        }),
        ScheduleModule.forRoot(),
        IdempotencyModule.forRoot({
          scope: accountOf,
          retentionHours: config.IDEMPOTENCY_RETENTION_HOURS,
          leaseSeconds: config.IDEMPOTENCY_LEASE_SECONDS,
          waitMs: config.IDEMPOTENCY_WAIT_MS,
          maxGroupSize: config.IDEMPOTENCY_GROUP_SIZE,
          cacheBytes: config.IDEMPOTENCY_CACHE_MIB * 2 ** 20,
          recoveryIntervalMs: config.RECOVERY_INTERVAL_MS,
          sweepCron: config.IDEMPOTENCY_SWEEP_CRON,
        }),
        MessagingModule.forRootAsync({
          useFactory: async () => ({
            bus: await busOf({
              amqpUrl: config.AMQP_URL,
              kafkaBrokers: config.KAFKA_BROKERS,
              retryMs: config.MESSAGE_RETRY_MS,
            }),
            relayIntervalMs: config.RELAY_INTERVAL_MS,
            retryMs: config.MESSAGE_RETRY_MS,
            maxAttempts: config.MESSAGE_MAX_ATTEMPTS,
            retentionHours: config.MESSAGE_RETENTION_HOURS,
            sweepCron: config.IDEMPOTENCY_SWEEP_CRON,
          }),
        }),
        AccountsModule,
        OperationsModule,
        ChargesModule,
        ...(config.STRIPE_WEBHOOK_SECRET ? [WebhooksModule] : []),
        OrdersModule,
        InventoryModule,
        CustomersModule,
        BalanceModule,
        NotificationsModule,
        IdempotencyKeysModule,
        DeadLettersModule,
      ],
      controllers: [HomeController, ErrorsController],
      providers: [{ provide: CONFIG, useValue: config }, ...REQUEST_PIPELINE],
      exports: [CONFIG],
    };
  }
}
