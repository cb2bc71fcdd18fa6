import { parseArgs } from 'node:util';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { ConfigError, configOfProcess } from './config.js';
import { openDatabase } from './database/open-database.js';
import { Problem } from './http/problem.js';
import { ChargeResolution, type Resolution, ResolutionRefused } from './charges/charge-resolution.js';

const USAGE = `Decides a charge that neither the service nor the gateway can decide. See docs/operations.md.

  npm run charges:resolve                                    lists these charges
  npm run charges:resolve -- --id ch_… --as captured|failed  settles one of them, as you have found out at the bank
`;

const RESOLUTIONS: readonly string[] = ['captured', 'failed'] satisfies Resolution[];

interface Options {
  id?: string;
  as?: Resolution;
}

/** Returns `undefined` if the command line is not valid. */
function optionsOf(args: string[]): Options | undefined {
  try {
    const { id, as } = parseArgs({ args, options: { id: { type: 'string' }, as: { type: 'string' } } }).values;
    if (id === undefined && as === undefined) return {};
    return id && as && RESOLUTIONS.includes(as) ? { id, as: as as Resolution } : undefined;
  } catch {
    return undefined;
  }
}

const say = (text: string) => void process.stdout.write(`${text}\n`);

async function main(options: Options): Promise<void> {
  const config = configOfProcess();
  const database = await openDatabase(config);
  // A replica of the service that serves no HTTP.
  const app = await NestFactory.createApplicationContext(AppModule.register(config, database.url), {
    logger: ['error', 'fatal'], // to stderr
    abortOnError: false,
  });
  try {
    const resolution = app.get(ChargeResolution, { strict: false });
    const { id, as } = options;
    if (id && as) {
      await resolution.resolve(id, as);
      return say(`${id} is resolved as ${as}.`);
    }
    const unresolved = await resolution.unresolved();
    for (const { id, account_id, amount, currency, created_at } of unresolved) {
      say([id, account_id, amount, currency, created_at.toISOString()].join('  '));
    }
    if (unresolved.length === 0) say('No charge has to be resolved.');
  } finally {
    await app.close();
    await database.close();
  }
}

const EXPECTED_ERRORS = [ConfigError, ResolutionRefused, Problem];

const args = process.argv.slice(2);
const options = optionsOf(args);
if (!options || args.includes('--help')) {
  process.stderr.write(USAGE);
  process.exit(args.includes('--help') ? 0 : 2);
}
main(options).catch((error: unknown) => {
  const isExpected = EXPECTED_ERRORS.some((type) => error instanceof type);
  process.stderr.write(`${isExpected ? (error as Error).message : String((error as Error)?.stack ?? error)}\n`);
  process.exit(1);
});
