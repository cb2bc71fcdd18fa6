import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PostgresCluster, type Replication } from '../../harness/postgres-cluster.js';
import { endProcesses } from '../../harness/processes.js';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';

/** The database of a run: a single server, or a cluster behind one address. */
export type Database = EmbeddedPostgres | PostgresCluster;

/** With two standbys, a quorum of one still confirms commits while the other standby is down. */
const STANDBYS = 2;

/**
 * Starts the database of a run, and removes it after the work.
 *
 * @param replication of a cluster; undefined for a single server
 */
export async function withDatabase<T>(
  replication: Replication | undefined,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'payments-chaos-'));
  const database = replication ? await startCluster(directory, replication) : await startServer(directory);
  try {
    return await work(database);
  } finally {
    await endProcesses();
    await (database instanceof PostgresCluster ? database.remove() : database.stop());
    await rm(directory, { recursive: true, force: true });
  }
}

const startServer = (directory: string) => EmbeddedPostgres.start({ directory, durable: true, throwaway: true });

function startCluster(directory: string, replication: Replication): Promise<PostgresCluster> {
  // The servers of a cluster are killed when this process ends, but each of them removes only its own folder.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  return PostgresCluster.start(directory, STANDBYS, replication);
}
