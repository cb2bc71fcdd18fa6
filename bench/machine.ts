import { open } from 'node:fs/promises';
import { arch, availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import type { BenchServer } from './database.js';
import { median } from './statistics.js';

const GIB = 2 ** 30;
/** The size of a page of PostgreSQL's log. */
const PROBE_BYTES = 8_192;
const PROBES = 50;

/** The properties of the machine that the numbers depend on: names and values for readers. */
export type Machine = readonly (readonly [name: string, value: string])[];

/** Describes the machine and the PostgreSQL that a benchmark runs on. */
export async function describeMachine(server: BenchServer): Promise<Machine> {
  const [settings] = (
    await server.admin.query<Record<string, string>>(`
      SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync,
             current_setting('wal_sync_method') AS method, current_setting('synchronous_commit') AS commit,
             current_setting('full_page_writes') AS pages, current_setting('shared_buffers') AS buffers,
             current_setting('max_wal_size') AS wal`)
  ).rows;
  const { version, fsync, method, commit, pages, buffers, wal } = settings ?? {};
  return [
    ['processor', `${cpus()[0]?.model.trim() ?? 'unknown'}, ${arch()}, ${availableParallelism()} cores`],
    ['memory', `${(totalmem() / GIB).toFixed(1)} GiB`],
    ['system', `${type()} ${release()}`],
    ['Node', process.version],
    ['PostgreSQL', `${version}, shared_buffers ${buffers}, max_wal_size ${wal}`],
    [
      'durability',
      `fsync ${fsync} (${method}), synchronous_commit ${commit}, full_page_writes ${pages}; ` +
        `a write of 8 KiB is on the disk in ${(await syncedWriteMs(server.directory)).toFixed(2)} ms (median of ${PROBES})`,
    ],
  ];
}

/** The time that a commit waits for the disk. If a disk confirms writes too early, all numbers are better than they should be. */
async function syncedWriteMs(directory: string): Promise<number> {
  const file = await open(join(directory, 'probe'), 'w');
  const page = Buffer.alloc(PROBE_BYTES, 1);
  const durationsMs: number[] = [];
  try {
    for (let i = 0; i < PROBES; i++) {
      const startedAtMs = performance.now();
      await file.write(page);
      await file.datasync();
      durationsMs.push(performance.now() - startedAtMs);
    }
  } finally {
    await file.close();
  }
  return median(durationsMs);
}
