import { type DynamicModule, Module, type Type } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import { TypeOrmModule } from '@nestjs/typeorm';
import { accountOf } from './accounts/account.decorator.js';
import { AccountsModule } from './accounts/accounts.module.js';
import { BalanceModule } from './balance/balance.module.js';
import { ChargesModule } from './charges/charges.module.js';
import { CONFIG, type Config } from './config.js';
import { CustomersModule } from './customers/customers.module.js';
import { dataSourceOptions } from './database/data-source.js';
import { DeadLettersModule } from './dead-letters/dead-letters.module.js';
import { ErrorsController } from './http/errors.controller.js';
import { IdempotencyModule } from './idempotency/index.js';
import { IdempotencyKeysModule } from './idempotency-keys/idempotency-keys.module.js';
import { InventoryModule } from './inventory/inventory.module.js';
import { busOf, MessagingModule } from './messaging/index.js';
import { Drain } from './operations/drain.js';
import { OperationsModule } from './operations/operations.module.js';
import { OrdersModule } from './orders/orders.module.js';

@Module({})
export class AppModule {
  /** @param databaseUrl where the database of `config` is running */
  static register(config: Config, databaseUrl: string, drain: Drain, features: Type[]): DynamicModule {
    return {
      module: AppModule,
      global: true,
      imports: [
        TypeOrmModule.forRoot({ ...dataSourceOptions(databaseUrl, config.DATABASE_POOL_SIZE), retryAttempts: 0 }),
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
        OrdersModule,
        InventoryModule,
        CustomersModule,
        BalanceModule,
        IdempotencyKeysModule,
        DeadLettersModule,
        ...features,
      ],
      controllers: [ErrorsController],
      providers: [
        { provide: CONFIG, useValue: config },
        { provide: Drain, useValue: drain },
      ],
      exports: [CONFIG, Drain],
    };
  }
}
