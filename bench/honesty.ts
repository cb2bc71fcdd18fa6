import type { AllEffects, BenchDatabase } from './database.js';
import type { Measurement, Operation } from './measurement.js';

/** The effects that a measurement must have had. */
export interface Expectation {
  /** Charges unless given. */
  operation?: Operation;
  /** Which requests have an effect: each, exactly one of all, or none. */
  effects: 'each' | 'one' | 'none';
  /** Whether charges come with recorded keys. */
  keyed: boolean;
}

/**
 * Checks that a measurement was of honest work: every answer was a success, and every charge was made once, captured once, announced in
 * one message and, if requests have keys, recorded once.
 *
 * @param before the effects before the measurement
 * @throws Error that says what is wrong
 */
export async function checkHonesty(
  { operation = 'charge', effects, keyed }: Expectation,
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
    const grown = operation === 'charge' ? after.succeeded - before.succeeded : after.orders - before.orders;
    const { answered, sent } = measured;
    // Requests in flight when the time was up were not answered, but have their effect.
    const [least, most] = { each: [answered, sent], one: [1, 1], none: [0, 0] }[effects] as [number, number];
    check(grown >= least && grown <= most, `${grown} ${operation}s were made, expected ${least} to ${most}`);
    check(after.captures === after.succeeded, `${after.captures} captures for ${after.succeeded} charges`);
    check(after.messages === after.succeeded, `${after.messages} messages for ${after.succeeded} charges`);
    check(after.taken === after.orders, `${after.taken} pieces were taken for ${after.orders} orders`);
    const records = keyed ? after.succeeded + after.orders : 0;
    check(
      after.completed === records,
      `${after.completed} recorded keys for ${after.succeeded} charges and ${after.orders} orders`,
    );
  }
  if (wrong.length > 0) throw new Error(wrong.join('; '));
}
