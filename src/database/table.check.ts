import type { DataSource } from 'typeorm';
import { ConfigError } from '../config.js';

const ADD_AND_CHANGE = ['SELECT', 'INSERT', 'UPDATE'];
const ALL = [...ADD_AND_CHANGE, 'DELETE'];

/** The tables of the service in its own schema, and the rights that its statements need. */
export const TABLES: Readonly<Record<string, readonly string[]>> = {
  // The idempotency module checks its own rights.
  processed_requests: [],
  charges: ADD_AND_CHANGE,
  orders: ADD_AND_CHANGE,
  order_payments: ADD_AND_CHANGE,
  inventory: ADD_AND_CHANGE,
  customers: ADD_AND_CHANGE,
  balances: ADD_AND_CHANGE,
  outbox: ALL,
  // Nothing is updated there, but PostgreSQL asks for the right to lock a row.
  processed_messages: ALL,
  failed_messages: ALL,
};

interface Table {
  name: string;
  schema: string | null;
  isCrashSafe: boolean;
  lacking: string[];
}

/**
 * The invariant: a service that has started can write every effect, in one schema, so that a crash of the database loses none. A missing
 * right would otherwise show after the bank has captured, and an unlogged table is emptied by a crash.
 *
 * @throws {ConfigError} that names the tables and what each lacks
 */
export async function checkTables(dataSource: DataSource, needed = TABLES): Promise<void> {
  const tables = await dataSource.query<Table[]>(
    `SELECT name, relnamespace::regnamespace::text AS schema,
            NOT EXISTS (SELECT FROM pg_class AS part
              WHERE part.relpersistence <> 'p' AND (part.oid = c.oid OR part.oid IN (SELECT relid FROM pg_partition_tree(c.oid))))
              AS "isCrashSafe",
            ARRAY (SELECT needed FROM jsonb_array_elements_text(rights) AS needed WHERE NOT has_table_privilege(c.oid, needed)) AS lacking
     FROM jsonb_each($1) AS expected (name, rights) LEFT JOIN pg_class c ON c.oid = to_regclass(name)`,
    [JSON.stringify(needed)],
  );
  const [first = ''] = Object.keys(needed);
  const home = tables.find(({ name }) => name === first)?.schema;
  const faults = tables.flatMap(({ name, schema, isCrashSafe, lacking }) => {
    if (schema === null) return [`expected a table ${name}`];
    return [
      ...(schema === home ? [] : [`expected ${name} in the schema of ${first}, ${home}, but it is in ${schema}`]),
      ...(isCrashSafe ? [] : [`expected ${name} to be logged, because a crash empties an unlogged table`]),
      ...(lacking.length === 0 ? [] : [`expected the right to ${lacking.join(', ')} on ${name}`]),
    ];
  });
  if (faults.length > 0) throw new ConfigError(faults.map((fault) => `DATABASE_URL: ${fault}`).join('\n'));
}
