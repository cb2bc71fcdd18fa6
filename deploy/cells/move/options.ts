import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { parseOptions, UsageError } from '../../../harness/options.js';
import type { RouterOptions } from './router.js';

export const USAGE = `Usage: npm run cells:move -- --account ACCOUNT --to CELL [options]

Moves an account to another cell while it is served. To continue a move that was interrupted, run the same command again.

  --account NAME   the account
  --to NAME        the cell to which it moves
  --cells FILE     the cells and their router, see deploy/cells/cells.example.json (default: cells.json)
  --dry-run        says what would be done, and changes nothing

Exit code: 0 if the account lives in the cell, 1 if the move failed and can be repeated, 2 if the command line or the file cannot be used.
`;

/** The URLs of the database of a cell. */
export interface CellUrls {
  database: string;
  /** The URL that the databases of other cells use, if they reach this database by another address. */
  databaseForCells?: string | undefined;
}

export interface Options {
  account: string;
  to: string;
  isDryRun: boolean;
  cells: Readonly<Record<string, CellUrls>>;
  router: RouterOptions;
}

const DATABASE = z.url({ protocol: /^postgres(ql)?$/ });
const FILE = z.strictObject({
  cells: z.record(
    z.string().regex(/^[\w-]+$/),
    z.strictObject({ database: DATABASE, databaseForCells: DATABASE.optional() }),
  ),
  router: z.strictObject({ map: z.string(), sockets: z.array(z.string()) }),
});

/** @throws UsageError if the command line or the file of the cells cannot be used */
export function readOptions(args: string[]): Options {
  const { values } = parseOptions({
    args,
    options: {
      account: { type: 'string' },
      to: { type: 'string' },
      cells: { type: 'string', default: 'cells.json' },
      'dry-run': { type: 'boolean', default: false },
    },
  });
  const { account, to, cells: file } = values;
  if (!account || !/^[\w.-]{1,64}$/.test(account)) throw new UsageError('--account: expected the id of an account');
  if (!to) throw new UsageError('--to: expected the name of a cell');
  return { account, to, isDryRun: values['dry-run'], ...readCells(file) };
}

function readCells(file: string): Pick<Options, 'cells' | 'router'> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`--cells ${file}: ${(error as Error).message}`);
  }
  const { success, data, error } = FILE.safeParse(content);
  // Without the values, because URLs contain passwords.
  if (!success)
    throw new UsageError(
      `--cells ${file}: ${error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')}`,
    );
  return data;
}
