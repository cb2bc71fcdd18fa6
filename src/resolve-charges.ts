import { parseArgs } from 'node:util';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { ConfigError, configOfProcess } from './config.js';
import { openDatabase } from './database/open-database.js';
import { Problem } from './http/problem.js';
import { ChargeResolution, type Resolution, ResolutionRefused } from './charges/charge-resolution.js';
import { RefundResolution, type RefundResolutionName } from './charges/refunds/refund-resolution.js';

const USAGE = `Decides a charge or a refund that neither the service nor the gateway can decide. See docs/operations.md.

  npm run charges:resolve                                    lists these charges and refunds
  npm run charges:resolve -- --id ch_… --as captured|failed  settles a charge, as you have found out at the bank
  npm run charges:resolve -- --id re_… --as refunded|failed  settles a refund
`;

/** The work that the command line asks for. */
type Options =
  | { kind: 'list' }
  | { kind: 'charge'; id: string; as: Resolution }
  | { kind: 'refund'; id: string; as: RefundResolutionName };

/** Returns `undefined` if the command line is not valid. */
function optionsOf(args: string[]): Options | undefined {
  try {
    const { id, as } = parseArgs({ args, options: { id: { type: 'string' }, as: { type: 'string' } } }).values;
    if (id === undefined && as === undefined) return { kind: 'list' };
    if (!id) return undefined;
    if (id.startsWith('re_')) return as === 'refunded' || as === 'failed' ? { kind: 'refund', id, as } : undefined;
    return as === 'captured' || as === 'failed' ? { kind: 'charge', id, as } : undefined;
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
    const charges = app.get(ChargeResolution, { strict: false });
    const refunds = app.get(RefundResolution, { strict: false });
    if (options.kind === 'charge') await charges.resolve(options.id, options.as);
    if (options.kind === 'refund') await refunds.resolve(options.id, options.as);
    if (options.kind !== 'list') return say(`${options.id} is resolved as ${options.as}.`);
    const unresolved = [...(await charges.unresolved()), ...(await refunds.unresolved())];
    for (const { id, account_id, amount, currency, created_at } of unresolved) {
      say([id, account_id, amount, currency, created_at.toISOString()].join('  '));
    }
    if (unresolved.length === 0) say('No charge has to be resolved, and no refund.');
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
