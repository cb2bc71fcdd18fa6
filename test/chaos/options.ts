import { parseArgs } from 'node:util';
import { FAIL_POINTS } from './fail-points.js';
import { FAULT_KINDS, type FaultKind } from './faults.js';
import { PLANTED_BUGS } from './planted/bugs.js';

/** What is to be done. */
export interface Options {
  readonly mode: 'random' | 'fail points' | 'planted';
  readonly seconds: number;
  readonly seed: number;
  readonly replicas: number;
  readonly faults: readonly FaultKind[];
  /** Of the planted bugs, or the fail points, these; all, when there are none. */
  readonly only: readonly string[];
}

/** The options of a run of random faults, as they are given. */
export function argumentsOf({ seed, seconds, replicas, faults }: Options): string {
  const kinds = faults.length < FAULT_KINDS.length ? ` --faults '${faults.join()}'` : '';
  return `--seed ${seed} --seconds ${seconds} --replicas ${replicas}${kinds}`;
}

/** A command line that makes no sense. */
export class UsageError extends Error {}

export const USAGE = `Usage: npm run chaos [-- options]

Runs the service as several processes, breaks them, the network, the database and the bank at random, and checks what clients saw,
what the database holds and what the bank has written down. The last line is the verdict: valid, invalid or unknown.

  --seconds N     of load and faults: 60
  --seed N        of everything that is random: a new one each time
  --replicas N    processes of the service, from 2 to 8: 3
  --faults A,B    kinds of faults to inject: all. ${FAULT_KINDS.join(', ')}
  --fail-points   instead: stops a process at every step of the protocol in turn, killed and frozen
  --planted       instead: switches known bugs on, one by one, and expects each to be found
  NAME …          with these two: only those

Exit code: 0 when valid, 1 when invalid or unknown, 2 when it could not be run. A run leaves its history, the bank’s journal, logs and a picture in .chaos/.
`;

/**
 * @returns `help` when that was asked for
 * @throws UsageError that says what was expected
 */
export function readOptions(args: string[]): Options | 'help' {
  const { values, positionals } = parse(args);
  if (values.help) return 'help';
  // None at all is refused like any other name that there is not: a run that breaks nothing proves nothing.
  const faults = values.faults?.split(',') ?? FAULT_KINDS;
  refuseOthers('--faults ', faults, FAULT_KINDS);
  if (values.planted && values['fail-points']) throw new UsageError('--planted, --fail-points: expected one of them');
  const mode = values.planted ? 'planted' : values['fail-points'] ? 'fail points' : 'random';
  refuseOthers('', positionals, NAMES[mode]);
  return {
    mode,
    seconds: integer('--seconds', values.seconds ?? '60', 1, 86_400),
    seed: integer('--seed', values.seed ?? String(Math.floor(Math.random() * 2 ** 32)), 0, 2 ** 32 - 1),
    replicas: integer('--replicas', values.replicas ?? '3', 2, 8),
    faults: faults as FaultKind[],
    only: positionals,
  };
}

const NAMES: Record<Options['mode'], readonly string[]> = {
  random: [],
  'fail points': FAIL_POINTS,
  planted: PLANTED_BUGS.map(({ name }) => name),
};

function refuseOthers(option: string, names: readonly string[], known: readonly string[]): void {
  const other = names.find((name) => !known.includes(name));
  if (other === undefined) return;
  throw new UsageError(
    `${option}${other}: expected ${known.length > 0 ? `some of ${known.join(', ')}` : 'options only'}`,
  );
}

function integer(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new UsageError(`${option} ${text}: expected an integer from ${least} to ${most}`);
  }
  return value;
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        seconds: { type: 'string' },
        seed: { type: 'string' },
        replicas: { type: 'string' },
        faults: { type: 'string' },
        'fail-points': { type: 'boolean', default: false },
        planted: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
