import { Idempotency1795478400000 } from './1795478400000-idempotency.js';
import { IdempotencyUpkeep1795478400500 } from './1795478400500-idempotency-upkeep.js';
import { Charges1795478401000 } from './1795478401000-charges.js';
import { SimulatedBank1795478402000 } from './1795478402000-simulated-bank.js';

/** Every migration, oldest first. A list rather than a glob: a file that is not named here does not run. */
export const migrations = [
  Idempotency1795478400000,
  IdempotencyUpkeep1795478400500,
  Charges1795478401000,
  SimulatedBank1795478402000,
];
