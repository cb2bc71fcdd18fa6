import type { EntityManager } from 'typeorm';
import type { Transaction } from '../../postgres/transaction.js';

/** One request's share of a phase. */
export interface PhaseItem<Input> {
  readonly accountId: string;
  /** The durable name of the request, the same at every retry: derive ids and foreign keys from it. */
  readonly requestId: string;
  /** Whether the result is a reply that is recorded and replayed, so that a refusal is final for the request's key. */
  readonly isRecorded: boolean;
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

/** A {@link Phase} of one statement. It is prepared once for each connection, and what comes behind it is sent without waiting. */
export interface StatementPhase<Input, Result> {
  /** Of the prepared statement; no two have the same. */
  readonly name: string;
  readonly text: string;
  /** The statement's parameters, one set for all items. */
  parameters(items: readonly PhaseItem<Input>[]): unknown[];
  /**
   * The results. Await `rows` only where they depend on them: a reply that does not can be recorded without waiting.
   * Of `claim`, what this throws leaves the intent committed, as a crash after it would.
   */
  results(items: readonly PhaseItem<Input>[], rows: Promise<Row[]>): Promise<readonly Result[]>;
}

/** A row that a statement returns. Its shape is the statement's, so who reads it says what it is. */
export type Row = Record<string, unknown>;

/** Either way to write a phase. */
export type AnyPhase<Input, Result> = Phase<Input, Result> | StatementPhase<Input, Result>;

/** Makes sure that a phase returned one result for each item. */
export function expectOneForEach(results: readonly unknown[], items: readonly unknown[]): void {
  if (results.length !== items.length) {
    throw new Error(`A phase returned ${results.length} results for ${items.length} items`);
  }
}

/** Runs a phase to its end and returns one result for each item. */
export async function runPhase<Input, Result>(
  { sql, manager }: Transaction,
  phase: AnyPhase<Input, Result>,
  items: readonly PhaseItem<Input>[],
): Promise<readonly Result[]> {
  let results: readonly Result[];
  if (typeof phase === 'function') results = await phase(manager, items);
  else {
    const { rows } = await sql.query({ name: phase.name, text: phase.text, values: phase.parameters(items) });
    results = await phase.results(items, Promise.resolve(rows));
  }
  expectOneForEach(results, items);
  return results;
}
