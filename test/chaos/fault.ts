import { setTimeout as pause } from 'node:timers/promises';
import type { Arena } from './arena.js';
import type { Random } from './random.js';

/** Reports that a fault has landed, and where. */
export type Landed = (about?: string) => void;

/** Injects a fault once. Resolves when the fault has been repaired, and does not reject because of the fault itself. */
export type Fault = (arena: Arena, random: Random, landed: Landed) => Promise<void>;

/** The parts of a run into which a fault is being injected. */
const busy = new WeakSet<object>();

/** Injects a fault into a part of the run. Does nothing if another fault of the part has not been repaired yet. */
export async function alone(part: object, inject: () => Promise<void>): Promise<void> {
  if (busy.has(part)) return;
  busy.add(part);
  await inject().finally(() => busy.delete(part));
}

/** Pauses for a random time, in milliseconds. */
export const pauseFor = (random: Random, { least, most }: { least: number; most: number }) =>
  pause(random.integer(least, most));
