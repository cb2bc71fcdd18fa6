import { DataSource } from 'typeorm';
import { configOfProcess } from '../config.js';
import { migrationOptions } from './data-source.js';
import { openDatabase } from './open-database.js';

const config = configOfProcess();
const database = await openDatabase(config);

/** For TypeORM's command line: `typeorm migration:show -d dist/src/database/cli-data-source.js`. */
export default new DataSource(migrationOptions(database.url, config.DATABASE_SESSION_SETTINGS));
