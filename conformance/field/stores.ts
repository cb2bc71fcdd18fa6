import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { RedisServer } from '../../harness/redis.js';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';

const CHARGES = `
  CREATE TABLE charges (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    amount bigint NOT NULL,
    currency text NOT NULL
  )`;

/** The addresses of an empty database and an empty Redis, as environment of a server. */
export interface Site {
  readonly DATABASE_URL: string;
  readonly REDIS_URL: string;
}

/** One PostgreSQL and one Redis on loopback for all libraries. */
export class Stores {
  private count = 0;

  private constructor(
    private readonly postgres: EmbeddedPostgres,
    private readonly redis: RedisServer,
  ) {}

  static async start(): Promise<Stores> {
    const redis = await RedisServer.start('redis-server', ['--databases', '1000']).catch((error: unknown) => {
      throw new Error('npm run field needs redis-server: apt-get install redis-server', { cause: error });
    });
    const directory = await mkdtemp(join(tmpdir(), 'payments-field-'));
    return new Stores(await EmbeddedPostgres.start({ directory, durable: false, throwaway: true }), redis);
  }

  /** @param withCharges whether the database gets the table of the servers; the service of this project creates its own tables */
  async createSite(withCharges: boolean): Promise<Site> {
    const number = ++this.count;
    const database = `field_${number}`;
    await sql(this.postgres.url, `CREATE DATABASE ${database}`);
    const url = new URL(this.postgres.url);
    url.pathname = `/${database}`;
    if (withCharges) await sql(url.href, CHARGES);
    return { DATABASE_URL: url.href, REDIS_URL: `${this.redis.url}/${number}` };
  }

  async stop(): Promise<void> {
    await Promise.all([this.postgres.stop(), this.redis.stop()]);
  }
}

async function sql(connectionString: string, text: string): Promise<void> {
  const client = new Client({ connectionString });
  await client.connect();
  await client.query(text).finally(() => client.end());
}
