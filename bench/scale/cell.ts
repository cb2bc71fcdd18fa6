import { loadavg } from 'node:os';
import { startService } from '../contenders/service.js';
import type { BenchDatabase, BenchServer } from '../database.js';
import { sendFreshCharges } from '../growth/fresh-charges.js';
import { residentBytes } from '../growth/memory.js';
import type { LoadJob } from '../load.js';
import type { Options } from '../options.js';
import { median } from '../statistics.js';
import type { Worker } from '../worker.js';

/** The cost of one charge, and the rate of a cell. */
export interface CellMeasurement {
  /** The load average of the machine before the measurement, because other work on it makes the rate lower. */
  loadBefore: number;
  /** Charges that were made in all rounds. */
  charges: number;
  /** Charges per second, in each round. */
  rates: number[];
  /** Bytes of WAL for each charge, with the messages that belong to it. */
  walBytes: number;
  /** Bytes on disk for each charge, with indexes and with rows that are not vacuumed yet, by table. */
  diskBytes: ReadonlyMap<string, number>;
  /** Resident memory of the process of the service at the end. */
  serviceBytes: number;
}

/** The tables in which a charge leaves rows. A real bank keeps its captures itself. */
const TABLES = ['processed_requests', 'charges'];

/** Sends fresh charges to one process on one database, and measures what they leave. */
export async function measureCell(
  server: BenchServer,
  load: Worker<LoadJob>,
  { rounds, seconds }: Options,
): Promise<CellMeasurement> {
  const [loadBefore = NaN] = loadavg();
  const database = await server.createDatabase('scale');
  const service = await startService(database.url);
  const subject = { service, database, load };
  await sendFreshCharges(subject, { until: { seconds } });
  const [before, disk] = [await writtenWalBytes(database), await diskOf(database)];
  const { succeeded } = await database.effects();
  const rates: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const { requestsPerSecond } = await sendFreshCharges(subject, { until: { seconds } });
    rates.push(requestsPerSecond);
  }
  await database.quiescence();
  const charges = (await database.effects()).succeeded - succeeded;
  const walBytes = ((await writtenWalBytes(database)) - before) / charges;
  const diskBytes = new Map(
    [...(await diskOf(database))].map(([table, bytes]) => [table, (bytes - (disk.get(table) ?? 0)) / charges]),
  );
  const serviceBytes = await residentBytes(service.program.pid);
  await service.program.end();
  return { loadBefore, charges, rates, walBytes, diskBytes, serviceBytes };
}

export const rateOf = ({ rates }: CellMeasurement) => median(rates);

/** Bytes of WAL that the server has written so far. Only this benchmark uses the server. */
async function writtenWalBytes(database: BenchDatabase): Promise<number> {
  return (await database.row<{ bytes: number }>(`SELECT (pg_current_wal_lsn() - '0/0')::float8 AS bytes`)).bytes;
}

async function diskOf(database: BenchDatabase): Promise<Map<string, number>> {
  const rows = await database.sql<{ name: string; bytes: number }>(
    'SELECT name, pg_total_relation_size(name::regclass)::float8 AS bytes FROM unnest($1::text[]) AS name',
    [TABLES],
  );
  return new Map(rows.map(({ name, bytes }) => [name, bytes]));
}
