import type { Client, QueryResultRow } from 'pg';
import type { EntityManager } from 'typeorm';

/** A statement that PostgreSQL knows by its name, once a connection has used it. */
export interface PreparedStatement {
  /** No two statements share one. */
  readonly name: string;
  readonly text: string;
}

/**
 * Runs a statement within a transaction of TypeORM, parsed and planned once for each connection. TypeORM's own
 * statements have no names and are parsed anew every time, which can take longer than to run them.
 */
export async function runPrepared<Row extends QueryResultRow>(
  tx: EntityManager,
  statement: PreparedStatement,
  values: unknown[],
): Promise<Row[]> {
  if (!tx.queryRunner) throw new Error('A prepared statement needs the connection of a transaction');
  const client = (await tx.queryRunner.connect()) as Client;
  const { rows } = await client.query<Row>({ ...statement, values });
  return rows;
}
