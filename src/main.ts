import { createApp } from './app.setup.js';
import { ConfigError, configOfProcess } from './config.js';
import { migrate } from './database/migrate.js';
import { openDatabase, type OpenDatabase } from './database/open-database.js';
import { endOnSignal } from './operations/shutdown.js';

/** For people, on stderr: stdout carries the log, which is for machines. */
const say = (text: string) => process.stderr.write(`${text}\n`);

async function start(): Promise<void> {
  const config = configOfProcess();
  const database = await openDatabase(config, say);
  try {
    const migrated = await migrate(database.url);
    const app = await createApp(config, database.url);
    endOnSignal(app, database);
    await app.nest.listen(config.PORT, config.HOST).catch((error: unknown) => {
      throw new ConfigError(`PORT, HOST: expected an address that is free, but ${String(error)}`);
    });
    if (config.IDEMPOTENCY_LEASE_SECONDS * 1000 <= config.GATEWAY_TIMEOUT_MS) {
      say(
        'IDEMPOTENCY_LEASE_SECONDS is not longer than GATEWAY_TIMEOUT_MS: slow charges are taken over while they run, which is safe and wasteful.',
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

Charge, then charge again. It is one charge, and the same answer:

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
