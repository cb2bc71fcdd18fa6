import type { EntityManager } from 'typeorm';

/** One request's share of a phase. */
export interface PhaseItem<Input> {
  readonly accountId: string;
  /** The durable name of the request, the same at every retry: derive ids and foreign keys from it. */
  readonly requestId: string;
  readonly input: Input;
}

/**
 * What is done to the database for a list of requests, in one transaction, with one result per item, in order.
 *
 * It may be run more than once for an item, never committed more than once: after a lost race, or when the answer
 * to COMMIT was lost. So it reads and writes through `tx` alone and touches nothing outside the database. What it
 * throws rolls everything back.
 */
export type Phase<Input, Result> = (
  tx: EntityManager,
  items: readonly PhaseItem<Input>[],
) => Promise<readonly Result[]>;

/** Runs a phase for one request. */
export async function runPhase<Input, Result>(
  phase: Phase<Input, Result>,
  tx: EntityManager,
  item: PhaseItem<Input>,
): Promise<Result> {
  const results = await phase(tx, [item]);
  if (results.length !== 1) throw new Error(`A phase returned ${results.length} results for 1 item`);
  return results[0] as Result;
}
