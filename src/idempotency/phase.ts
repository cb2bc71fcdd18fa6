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
 * It may be run more than once for an item, never committed more than once: after a lost race, when the answer to
 * COMMIT was lost, or alone after it had failed in company. So it reads and writes through `tx` alone and touches
 * nothing outside the database. What it throws rolls everything back.
 */
export type Phase<Input, Result> = (
  tx: EntityManager,
  items: readonly PhaseItem<Input>[],
) => Promise<readonly Result[]>;

/** Runs a phase, and insists on one result for each item. */
export async function runPhase<Input, Result>(
  phase: Phase<Input, Result>,
  tx: EntityManager,
  items: readonly PhaseItem<Input>[],
): Promise<readonly Result[]> {
  const results = await phase(tx, items);
  if (results.length !== items.length) {
    throw new Error(`A phase returned ${results.length} results for ${items.length} items`);
  }
  return results;
}
