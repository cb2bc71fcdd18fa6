import { Idempotency1763900000000 } from './1763900000000-idempotency.js';
import { Charges1763900001000 } from './1763900001000-charges.js';
import { SimulatedBank1763900002000 } from './1763900002000-simulated-bank.js';

/** Every migration, oldest first. A list rather than a glob: a file that is not named here does not run. */
export const migrations = [Idempotency1763900000000, Charges1763900001000, SimulatedBank1763900002000];
