import type { BenchDatabase, Effects } from './database.js';
import type { Measurement, Operation } from './measurement.js';

/** What a measurement must have done, besides being fast. */
export interface Expectation {
  /** Charges unless told otherwise. */
  operation?: Operation;
  /** Requests that each make a charge; the others make none. */
  effects: 'each' | 'one' | 'none';
  /** Whether charges come with recorded keys. */
  keyed: boolean;
}

/**
 * Whether a measurement was of honest work: every answer a success, and every charge there once, captured once, told of
 * once, and, where there are keys, recorded once.
 *
 * @param before the effects, before it
 * @throws Error that says what is off
 */
export async function checkHonesty(
  { operation = 'charge', effects, keyed }: Expectation,
  measured: Measurement,
  database?: BenchDatabase,
  before?: Effects,
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
    // What was under way when the time was up was not answered, and takes effect nevertheless.
    const [least, most] = { each: [answered, sent], one: [1, 1], none: [0, 0] }[effects] as [number, number];
    check(grown >= least && grown <= most, `${grown} ${operation}s were made, expected ${least} to ${most}`);
    check(after.captures === after.succeeded, `${after.captures} captures for ${after.succeeded} charges`);
    check(after.told === after.succeeded, `${after.told} messages for ${after.succeeded} charges`);
    check(after.taken === after.orders, `${after.taken} pieces were taken for ${after.orders} orders`);
    const records = keyed ? after.succeeded + after.orders : 0;
    check(
      after.completed === records,
      `${after.completed} recorded keys for ${after.succeeded} charges and ${after.orders} orders`,
    );
  }
  if (wrong.length > 0) throw new Error(wrong.join('; '));
}
