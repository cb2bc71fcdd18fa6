import type { Arena } from './arena.js';
import type { Random } from './random.js';

/** Reports that a fault has landed, and where. */
export type Landed = (about?: string) => void;

/** Injects a fault once. Resolves when the fault has been repaired, and does not reject because of the fault itself. */
export type Fault = (arena: Arena, random: Random, landed: Landed) => Promise<void>;
