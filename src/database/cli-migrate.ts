import { configOfProcess } from '../config.js';
import { migrate } from './migrate.js';
import { openDatabase } from './open-database.js';

/** `npm run migration:run`: what the service does at its start, for those who migrate before they start. */
const database = await openDatabase(configOfProcess());
const migrated = await migrate(database.url);
process.stdout.write(
  `${database.description}: ${migrated.length > 0 ? `migrated ${migrated.join(', ')}` : 'nothing to migrate'}\n`,
);
await database.close();
