import type { AccountTable } from './account-tables.js';
import type { CellDatabase } from './cell-database.js';

/** A part of the rows of a table, by the time since which they are final. */
export type Part = { finalAfter: string; finalUntil: string } | { finalAfter: string; finalUntil?: undefined };

/** No row became final before this time. */
export const EVER = '-infinity';

/**
 * Compares the rows of an account in two cells.
 *
 * @param part with an end: the rows that became final in this time. Without an end: the rows that became final after its start, and the rows that are not final.
 * @returns one sentence for each table whose rows differ
 */
export async function differences(
  cells: readonly [CellDatabase, CellDatabase],
  tables: readonly AccountTable[],
  account: string,
  part: Part,
): Promise<string[]> {
  const compared = await Promise.all(
    tables.map(async (table) => {
      const digests = await Promise.all(cells.map((cell) => digestOf(cell, table, account, part)));
      const [a, b] = digests as [Digest, Digest];
      if (a.rows === b.rows && a.digest === b.digest) return [];
      return [
        `${table.name}: ${a.rows} rows in ${cells[0].name}, ${b.rows} in ${cells[1].name}${a.rows === b.rows ? ', with other content' : ''}`,
      ];
    }),
  );
  return compared.flat();
}

interface Digest {
  rows: number;
  digest: string;
}

/** The number of rows, and the sum of the 64-bit hashes of their texts, which does not depend on their order. */
function digestOf(cell: CellDatabase, { name, finalAt }: AccountTable, account: string, part: Part): Promise<Digest> {
  const digest = `
    SELECT count(*)::int AS rows, coalesce(sum(hashtextextended(t::text, 0)), 0)::text AS digest
    FROM ${name} AS t WHERE account_id = $1`;
  const { finalAfter, finalUntil } = part;
  if (finalUntil !== undefined) {
    if (!finalAt) return Promise.resolve({ rows: 0, digest: '' });
    return cell.one(`${digest} AND ${finalAt} > $2 AND ${finalAt} <= $3`, [account, finalAfter, finalUntil]);
  }
  if (!finalAt) return cell.one(digest, [account]);
  return cell.one(`${digest} AND (${finalAt} > $2 OR ${finalAt} IS NULL)`, [account, finalAfter]);
}
