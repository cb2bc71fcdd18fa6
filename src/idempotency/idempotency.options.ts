import { ConfigurableModuleBuilder } from '@nestjs/common';

export interface IdempotencyOptions {
  /**
   * Whose key it is: the account of an authenticated request. Two accounts may use one key; without a scope one
   * could read the other's reply, so there is no default.
   */
  scope: (request: never) => string;
  /** Hours a completed reply is kept and replayed, counted from the first claim. */
  retentionHours: number;
  /** Seconds a holder has before others may take over; longer than the slowest call made between the two verbs. */
  leaseSeconds: number;
  /** Milliseconds a duplicate waits for the reply of the request that is in flight. */
  waitMs: number;
  /** Requests that share one commit at most; 1 gives each a transaction of its own. */
  maxGroupSize: number;
  /** Memory of each process for replies that it need not ask the database for; 0 for none. */
  cacheBytes: number;
  /**
   * Milliseconds between two looks for requests whose lease has expired, and the shortest pause before one that could not be
   * finished is tried again.
   */
  recoveryIntervalMs: number;
  /** When to delete expired rows, as a cron expression. */
  sweepCron: string;
}

export const { ConfigurableModuleClass: ConfigurableIdempotencyModule, MODULE_OPTIONS_TOKEN: IDEMPOTENCY_OPTIONS } =
  new ConfigurableModuleBuilder<IdempotencyOptions>()
    .setClassMethodName('forRoot')
    // Interceptors are resolved where they are used, so every feature module has to see the services.
    .setExtras({}, (definition) => ({ ...definition, global: true }))
    .build();
