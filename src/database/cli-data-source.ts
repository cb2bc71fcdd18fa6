import { DataSource } from 'typeorm';
import { loadConfig } from '../config.js';
import { dataSourceOptions } from './data-source.js';
import { openDatabase } from './open-database.js';

const database = await openDatabase(loadConfig(process.env));

/** For TypeORM's command line: `typeorm migration:show -d dist/src/database/cli-data-source.js`. */
export default new DataSource(dataSourceOptions(database.url));
