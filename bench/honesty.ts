import type { AllEffects, BenchDatabase } from './database.js';
import type { Measurement, Operation } from './measurement.js';
import { countOf } from './mix.js';

/** The effects that a measurement must have had. */
export interface Expectation {
  /** Charges unless given. */
  operation?: Operation;
  /** Which requests have an effect: each, exactly one of all, or none. Not used for mixed requests, because their mix decides. */
  effects: 'each' | 'one' | 'none';
  /** Whether the database records the keys that come with requests. */
  keyed: boolean;
  /** Whether a replay among mixed requests has an effect of its own. Default: it has none. */
  replaysHaveEffects?: boolean;
}

/** The least and the largest number. */
type Bounds = readonly [least: number, most: number];

const NONE: Bounds = [0, 0];

/** The numbers of charges and orders that a measurement must have made. */
function expectedOf(
  { operation = 'charge', effects, replaysHaveEffects }: Expectation,
  { answered, sent }: Measurement,
): Record<'charges' | 'orders', Bounds> {
  // Requests in flight when the time was up were not answered, but have their effect.
  const bounds = { each: [answered, sent], one: [1, 1], none: NONE }[effects] as Bounds;
  switch (operation) {
    case 'charge':
      return { charges: bounds, orders: NONE };
    case 'order':
      return { charges: NONE, orders: bounds };
    case 'mixed': {
      const charges = (requests: number) =>
        countOf('fresh', requests) + (replaysHaveEffects ? countOf('replay', requests) : 0);
      return {
        charges: [charges(answered), charges(sent)],
        orders: [countOf('order', answered), countOf('order', sent)],
      };
    }
  }
}

/**
 * Checks that a measurement was of honest work: every answer was a success, and every charge was made once, captured once, announced in
 * one message and, if requests have keys, recorded once.
 *
 * @param before the effects before the measurement
 * @throws Error that says what is wrong
 */
export async function checkHonesty(
  expectation: Expectation,
  measured: Measurement,
  database?: BenchDatabase,
  before?: AllEffects,
): Promise<void> {
  const wrong: string[] = [];
  const check = (holds: boolean, text: string) => holds || wrong.push(text);
  check(measured.answered > 0, 'nothing was answered');
  check(measured.refused === 0, `${measured.refused} answers were not 2xx`);
  check(measured.broken === 0, `${measured.broken} connections broke or timed out`);
  check(measured.mismatched === 0, `${measured.mismatched} answers to one key were different`);
  if (database && before) {
    await database.quiescence();
    const after = await database.effects();
    const made = { charges: after.succeeded - before.succeeded, orders: after.orders - before.orders };
    const expected = expectedOf(expectation, measured);
    for (const name of ['charges', 'orders'] as const) {
      const [least, most] = expected[name];
      check(made[name] >= least && made[name] <= most, `${made[name]} ${name} were made, expected ${least} to ${most}`);
    }
    check(after.captures === after.succeeded, `${after.captures} captures for ${after.succeeded} charges`);
    check(
      after.announced === after.charged,
      `charges of ${after.charged} were made, and ${after.announced} were announced`,
    );
    check(after.taken === after.orders, `${after.taken} pieces were taken for ${after.orders} orders`);
    // Orders of the mixed load come without a key, because their id is a natural key.
    const keyedOrders = expectation.operation === 'order' ? made.orders : 0;
    const keys = expectation.keyed ? made.charges + keyedOrders : 0;
    const recorded = after.completed - before.completed;
    check(recorded === keys, `${recorded} keys were recorded for ${made.charges} charges and ${made.orders} orders`);
  }
  if (wrong.length > 0) throw new Error(wrong.join('; '));
}
