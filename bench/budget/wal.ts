import type { BenchDatabase } from '../database.js';

/** The WAL records of one type for one table or index. */
export interface WalRecords {
  /** The resource manager and the type as PostgreSQL names them, such as `Heap INSERT`. */
  type: string;
  /** The table or index; empty for records such as a commit. */
  relation: string;
  records: number;
  /** The bytes of the records, with the images of pages in them. */
  bytes: number;
  pageImages: number;
  pageImageBytes: number;
}

/** The end of the WAL on the disk. The last records may follow after a moment, if no transaction waits for them. */
export async function walPosition(database: BenchDatabase): Promise<string> {
  return (await database.row<{ position: string }>('SELECT pg_current_wal_flush_lsn()::text AS position')).position;
}

// The first block of a record decides its table or index. `+INIT` means that the record starts a new page.
const READ = `
  SELECT resource_manager || ' ' || replace(record_type, '+INIT', '') AS type, coalesce(relname, '') AS relation,
         count(*)::int AS records, sum(record_length)::float8 AS bytes,
         sum(regexp_count(coalesce(block_ref, ''), 'FPW'))::int AS "pageImages", sum(fpi_length)::float8 AS "pageImageBytes"
  FROM pg_get_wal_records_info($1, $2)
  LEFT JOIN pg_class ON pg_relation_filenode(pg_class.oid) = substring(block_ref FROM 'rel \\d+/\\d+/(\\d+)')::oid
  GROUP BY 1, 2`;

/** Reads the records between two positions, with the extension pg_walinspect. No other database of the server writes at that time. */
export function readWal(database: BenchDatabase, from: string, to: string): Promise<WalRecords[]> {
  // PostgreSQL refuses an empty range.
  return from === to ? Promise.resolve([]) : database.sql<WalRecords & Record<string, unknown>>(READ, [from, to]);
}
