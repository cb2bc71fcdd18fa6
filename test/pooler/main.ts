import { strict as assert } from 'node:assert';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { underLoad } from '../../harness/accounting.js';
import { endProcesses, type Program, runTool, startAlone } from '../../harness/processes.js';
import { sqlAt } from '../../harness/sql.js';
import { type Case, runCases } from '../../harness/suite.js';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { EXPECTED_POOLER } from '../../src/postgres/database-errors.js';
import { Pooler } from './pooler.js';
import { takeTour } from './tour.js';

const REPLICAS = 3;
const CLIENTS = 48;
const REQUESTS = 500;
/** Makes PgBouncer behave as before 1.21: it lends connections without the prepared statements of the client. */
const OLD = 'max_prepared_statements = 0';
/**
 * Few server connections for {@link CLIENTS}, so that clients wait. More than replicas, because each replica keeps a connection while it
 * delivers messages, and the delivery needs another one.
 */
const SCARCE = 'default_pool_size = 6';

/** The lease is short, because requests that a fault has interrupted wait for its end. It is longer than the timeout of the gateway. */
const SETTINGS = {
  PORT: '0',
  DATABASE_SESSION_SETTINGS: 'role',
  IDEMPOTENCY_LEASE_SECONDS: '12',
  LOG_LEVEL: 'error',
};

const startReplica = (pooler: Pooler): Program => startAlone('src/main.js', { ...SETTINGS, DATABASE_URL: pooler.url });

/** Does something under load, and compares the replies with the database. */
function survive(urls: readonly string[], databaseUrl: string, act: () => unknown): Promise<string> {
  const options = { urls, accounts: [{ id: 'acct_demo', secret: 'unused' }], clients: CLIENTS };
  return underLoad(options, sqlAt(databaseUrl), async (load) => {
    await load.acknowledges(REQUESTS);
    const actedAtMs = performance.now();
    await act();
    await load.acknowledges(REQUESTS);
    const outageSeconds = load.longestGapMs(actedAtMs) / 1000;
    return `longest time without a reply ${outageSeconds.toFixed(1)} s`;
  });
}

function casesOf(pooler: Pooler, postgres: EmbeddedPostgres): Case[] {
  let replicas: Program[] = [];
  let urls: string[] = [];
  const surviving = (act: () => unknown) => () => survive(urls, postgres.url, act);
  return [
    {
      name: 'migrates an empty database once if three replicas start at the same time',
      run: async () => {
        replicas = Array.from({ length: REPLICAS }, () => startReplica(pooler));
        urls = await Promise.all(replicas.map((replica) => replica.served()));
        const locks = await sqlAt(postgres.url)("SELECT FROM pg_locks WHERE locktype = 'advisory'");
        assert.equal(locks.length, 0, 'a lock is left on a server connection');
        return 'all replicas serve, and no lock is left on a server connection';
      },
    },
    {
      name: 'answers every kind of request as without a pooler',
      run: async () => `${await takeTour(urls[0] ?? '')} requests`,
    },
    {
      name: 'refuses nothing if there are more clients than server connections',
      run: async () => {
        await pooler.restart(SCARCE);
        try {
          const measured = await survive(urls, postgres.url, () => undefined);
          assert.match(measured, /retried nothing$/);
          const waitedSeconds = await pooler.waitedSeconds();
          assert.ok(waitedSeconds > 0, 'no client has waited for a server connection');
          return `clients waited ${waitedSeconds.toFixed(1)} s for server connections, ${measured}`;
        } finally {
          await pooler.restart();
        }
      },
    },
    {
      name: 'loses and doubles nothing if PostgreSQL is killed behind the pooler',
      run: surviving(() => postgres.pid && process.kill(postgres.pid, 'SIGKILL')),
    },
    {
      name: 'loses and doubles nothing if the pooler is killed',
      run: surviving(() => pooler.restart()),
    },
    {
      name: 'answers 503 and logs the cause if the pooler mixes up prepared statements, as PgBouncer before 1.21 does',
      run: async () => {
        const measured = await survive(urls, postgres.url, async () => {
          const logged = replicas.map((replica) => replica.said(new RegExp(EXPECTED_POOLER)));
          await pooler.restart(OLD);
          await Promise.all(logged);
          await pooler.restart();
        });
        assert.match(measured, /\d x 503 /);
        return measured;
      },
    },
    {
      name: 'does not start behind a pooler that mixes up prepared statements, and names what it expects',
      run: async () => {
        // The replicas have stopped, so that the pooler lends the same session to both clients of the check.
        await Promise.all(replicas.map((replica) => replica.end()));
        await pooler.restart(OLD);
        const replica = startReplica(pooler);
        await assert.rejects(replica.served(), new RegExp(`ended with 1\n.*\nDATABASE_URL: ${EXPECTED_POOLER}`));
        return replica.output.trim().replaceAll('\n', ' ');
      },
    },
  ];
}

async function main([pgbouncer = '']: string[]): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'payments-pooler-'));
  const postgres = await EmbeddedPostgres.start({ directory, durable: true, throwaway: true });
  try {
    await sqlAt(postgres.url)(await readFile('deploy/pgbouncer/role.sql', 'utf8'));
    return await runCases(casesOf(await Pooler.start(pgbouncer, directory, postgres.url), postgres));
  } finally {
    await endProcesses();
    await postgres.stop();
  }
}

// The embedded PostgreSQL stops by itself when this process ends, and removes the directory.
await runTool(() => main(process.argv.slice(2)));
