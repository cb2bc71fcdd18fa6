import { ConfigurableModuleBuilder } from '@nestjs/common';

export interface IdempotencyOptions {
  /**
   * Returns the account that a request belongs to. Two accounts may use the same key. Without a scope one account could read the reply of
   * another, so this option has no default.
   */
  scope: (request: never) => string;
  /** Hours for which a recorded reply is kept and replayed, counted from the first claim. */
  retentionHours: number;
  /**
   * Seconds after which another attempt may take over a claimed request. Must be longer than the slowest call between `claim` and
   * `complete`.
   */
  leaseSeconds: number;
  /** Milliseconds for which a duplicate waits for the reply of the request that is in flight. */
  waitMs: number;
  /** Maximum number of requests that share one transaction. 1 selects the plain committer: one transaction for each request. */
  maxGroupSize: number;
  /** Bytes of memory in each process for replies that need not be read from the database again; 0 for no cache. */
  cacheBytes: number;
  /**
   * Milliseconds between two searches for requests whose lease has expired. Also the shortest pause before recovery retries a request that
   * recovery could not finish.
   */
  recoveryIntervalMs: number;
  /** When to delete expired keys, as a cron expression. */
  sweepCron: string;
}

/** The options that an application gives: `scope`, and every other option that differs from its default. */
export type IdempotencyModuleOptions = Pick<IdempotencyOptions, 'scope'> & Partial<IdempotencyOptions>;

export const IDEMPOTENCY_DEFAULTS: Omit<IdempotencyOptions, 'scope'> = {
  // Stripe and others keep keys for a day, so clients retry for no longer than that.
  retentionHours: 24,
  // Longer than a call of a payment gateway, its timeout included.
  leaseSeconds: 30,
  // Longer than the 10 s that a call of a gateway may take, because a duplicate that waits as long as the call gets a 409 instead of its answer.
  // Shorter than the timeouts of most HTTP clients and proxies, so that a duplicate gets an answer.
  waitMs: 12_000,
  // Larger groups are not faster: see docs/benchmark.md.
  maxGroupSize: 64,
  // About 20,000 replies of charges.
  cacheBytes: 32 * 2 ** 20,
  recoveryIntervalMs: 5_000,
  // Every ten minutes, so that a sweep never has much to delete.
  sweepCron: '*/10 * * * *',
};

export const { ConfigurableModuleClass: ConfigurableIdempotencyModule, MODULE_OPTIONS_TOKEN: GIVEN_OPTIONS } =
  new ConfigurableModuleBuilder<IdempotencyModuleOptions>()
    .setClassMethodName('forRoot')
    // The module is global, because Nest resolves an interceptor in the module of the controller that uses it.
    .setExtras({}, (definition) => ({ ...definition, global: true }))
    .build();

/** The injection token of the {@link IdempotencyOptions}, defaults included. */
export const IDEMPOTENCY_OPTIONS = Symbol('IDEMPOTENCY_OPTIONS');
