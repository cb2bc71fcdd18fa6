import type { EntityManager } from 'typeorm';

interface Table {
  name: string;
  schema: string | null;
  isCrashSafe: boolean;
  lacking: string[];
}

/**
 * Checks the tables that statements will write to. Each table must exist in the schema of the first table, be logged, and be writable.
 *
 * @param needed the rights that statements need, by the name of the table
 * @returns one sentence for each fault; an empty list if every effect can be written and survives a crash of the database
 */
export async function faultsOfTables(
  manager: EntityManager,
  needed: Readonly<Record<string, readonly string[]>>,
): Promise<string[]> {
  const tables = await manager.query<Table[]>(
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
  return tables.flatMap(({ name, schema, isCrashSafe, lacking }) => {
    if (schema === null) return [`expected a table ${name}`];
    return [
      ...(schema === home ? [] : [`expected ${name} in the schema of ${first}, ${home}, but it is in ${schema}`]),
      ...(isCrashSafe ? [] : [`expected ${name} to be logged, because a crash empties an unlogged table`]),
      ...(lacking.length === 0 ? [] : [`expected the right to ${lacking.join(', ')} on ${name}`]),
    ];
  });
}
