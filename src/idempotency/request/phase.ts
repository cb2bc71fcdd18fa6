import type { EntityManager } from 'typeorm';

/** One request in the list that a phase gets. */
export interface PhaseItem<Input> {
  readonly accountId: string;
  /** The durable id of the request, the same at every retry. Derive ids and foreign keys from it. */
  readonly requestId: string;
  /** Whether the result is a reply that is recorded under the request's key. If so, a refusal is final for that key. */
  readonly isRecorded: boolean;
  readonly input: Input;
}

/**
 * A function that reads and writes the database for a list of requests, in one transaction. It returns one result for each item, in order.
 *
 * The list is an optimisation: requests that share a transaction then share its statements too. Start with `perRequest`, which makes a phase
 * of a function for one request.
 *
 * A phase may run several times for an item, but is committed at most once. It runs again if the transaction has lost a race, if the answer
 * to COMMIT was lost, or without the other requests if their group has failed. So a phase must use `tx` only and must have no effect
 * outside of the database. If a phase throws, the whole transaction is rolled back.
 */
export type Phase<Input, Result> = (
  tx: EntityManager,
  items: readonly PhaseItem<Input>[],
) => Promise<readonly Result[]>;

/**
 * A {@link Phase} that is one statement. The statement is prepared once for each connection, and the next statement can be sent without
 * waiting for its answer.
 */
export interface StatementPhase<Input, Result> {
  /** Name of the prepared statement, unique in the application. */
  readonly name: string;
  readonly text: string;
  /** Returns the parameters of the statement, which serve all items together. */
  parameters(items: readonly PhaseItem<Input>[]): unknown[];
  /**
   * Returns one result for each item, in order. Await `rows` only if the results depend on them, because other results are recorded without
   * waiting for the statement.
   *
   * If `results` throws in a phase of `claim`, the claim may be committed all the same, because `GroupCommit` sends COMMIT before the rows
   * arrive. The next attempt then continues as after a crash between the two commits.
   */
  results(items: readonly PhaseItem<Input>[], rows: Promise<Row[]>): Promise<readonly Result[]>;
}

/** A row that a statement returns. The statement defines its members, so `results` casts the row to its own type. */
export type Row = Record<string, unknown>;

/** Either way to write a phase. */
export type AnyPhase<Input, Result> = Phase<Input, Result> | StatementPhase<Input, Result>;
