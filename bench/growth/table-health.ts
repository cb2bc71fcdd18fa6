import type { BenchDatabase } from '../database.js';
import { readMetrics } from './metrics.js';

const MIB = 2 ** 20;

/** The table of keys at one moment. */
export interface TableSample {
  /** Time since the sampling began. */
  seconds: number;
  sweptKeys: number;
  /** Deleted rows that are not yet vacuumed, as PostgreSQL estimates them. */
  deadRows: number;
  tableMib: number;
  indexesMib: number;
  autovacuums: number;
}

/** Reads the statistics of the table from PostgreSQL and the number of swept keys from the service. */
export async function readTable(database: BenchDatabase, url: string, startedAtMs: number): Promise<TableSample> {
  const metrics = await readMetrics(url);
  const [row] = await database.sql<Omit<TableSample, 'seconds' | 'sweptKeys'>>(
    `SELECT n_dead_tup::int AS "deadRows", autovacuum_count::int AS "autovacuums",
            pg_table_size(relid)::float8 / $1 AS "tableMib", pg_indexes_size(relid)::float8 / $1 AS "indexesMib"
     FROM pg_stat_user_tables WHERE relname = 'processed_requests'`,
    [MIB],
  );
  if (!row) throw new Error('There is no table processed_requests');
  const seconds = (performance.now() - startedAtMs) / 1000;
  return { ...row, seconds, sweptKeys: metrics.get('idempotency_swept_total') ?? 0 };
}

/** A summary of a sweep, from the samples before, during and after it. */
export interface SweepSummary {
  /** Time between the last sample without swept keys and the first sample with all of them. */
  seconds: number;
  /** The greatest common divisor of all sampled numbers of swept keys, which is the number of rows that one statement deletes. */
  batchRows: number;
  before: TableSample;
  /** The sample with the most dead rows. */
  worst: TableSample;
  after: TableSample;
}

/** @throws RangeError if there are no samples */
export function summarize(samples: readonly TableSample[]): SweepSummary {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last) throw new RangeError('There are no samples to summarize');
  const before = samples.findLast(({ sweptKeys }) => sweptKeys === 0) ?? first;
  const finished = samples.find(({ sweptKeys }) => sweptKeys === last.sweptKeys) ?? last;
  return {
    seconds: finished.seconds - before.seconds,
    batchRows: samples.map(({ sweptKeys }) => sweptKeys).reduce(greatestCommonDivisor, 0),
    before,
    worst: samples.reduce((worst, sample) => (sample.deadRows > worst.deadRows ? sample : worst)),
    after: last,
  };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
