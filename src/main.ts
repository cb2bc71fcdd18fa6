import { AppModule } from './app.module.js';
import { createApp } from './app.setup.js';
import { ConfigError, configOfProcess } from './config.js';
import { migrate } from './database/migrate.js';
import { openDatabase, type OpenDatabase } from './database/open-database.js';
import { endOnSignal } from './operations/shutdown.js';
import { tuneForSpeed } from './operations/tuning.js';

/** Writes for people, to stderr, because stdout carries the log, which is for machines. */
const say = (text: string) => process.stderr.write(`${text}\n`);

async function start(): Promise<void> {
  tuneForSpeed();
  const config = configOfProcess();
  const database = await openDatabase(config, say);
  try {
    const migrated = await migrate(database.url, config.DATABASE_SESSION_SETTINGS);
    const app = await createApp(config, AppModule.register(config, database.url));
    endOnSignal(app, database);
    await app.nest.listen(config.PORT, config.HOST).catch((error: unknown) => {
      throw new ConfigError(`PORT, HOST: expected a free address, but ${String(error)}`);
    });
    if (config.IDEMPOTENCY_LEASE_SECONDS * 1000 <= config.GATEWAY_TIMEOUT_MS) {
      say(
        'IDEMPOTENCY_LEASE_SECONDS is not longer than GATEWAY_TIMEOUT_MS, so slow charges are taken over while they run. That is safe but wasteful.',
      );
    }
    welcome(await app.nest.getUrl(), database, migrated, config.API_KEYS !== undefined);
  } catch (error) {
    await database.close();
    throw error;
  }
}

function welcome(url: string, { description }: OpenDatabase, migrated: string[], needsApiKey: boolean): void {
  const authorization = needsApiKey ? ` -H 'Authorization: Bearer <secret>'` : '';
  const charge = `curl -i ${url}/charges${authorization} -H 'Content-Type: application/json' -H 'Idempotency-Key: order_12345' -d '{"amount": 1999, "currency": "eur"}'`;
  say(`
Payments are served at ${url}, the docs at ${url}/docs
on ${description}${migrated.length > 0 ? ` (migrated: ${migrated.join(', ')})` : ''}.

Send the same request twice. It makes one charge, and both answers are the same:

  ${charge}
  ${charge}
`);
}

start().catch((error: unknown) => {
  say(
    error instanceof ConfigError
      ? `The settings are not valid:\n${error.message}`
      : String((error as Error)?.stack ?? error),
  );
  process.exit(1);
});
