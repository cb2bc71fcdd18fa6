import { configOfProcess } from '../config.js';
import { migrate } from './migrate.js';
import { openDatabase } from './open-database.js';

/** `npm run migration:run`: the migrations that the service also runs at its start, for deployments that migrate before they start replicas. */
const config = configOfProcess();
const database = await openDatabase(config);
const migrated = await migrate(database.url, config.DATABASE_SESSION_SETTINGS);
process.stdout.write(
  `${database.description}: ${migrated.length > 0 ? `migrated ${migrated.join(', ')}` : 'nothing to migrate'}\n`,
);
await database.close();
