import { Idempotency1795478400000 } from './1795478400000-idempotency.js';
import { IdempotencyUpkeep1795478400500 } from './1795478400500-idempotency-upkeep.js';
import { IdempotencyRecovery1795478408000 } from './1795478408000-idempotency-recovery.js';

/**
 * The migrations of the idempotency module, oldest first. List them among the `migrations` of the data source, beside those of the
 * application. They create the table `processed_requests` and change nothing else.
 */
export const idempotencyMigrations = [
  Idempotency1795478400000,
  IdempotencyUpkeep1795478400500,
  IdempotencyRecovery1795478408000,
];
