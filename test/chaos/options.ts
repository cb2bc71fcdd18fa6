import { integer, oneOf, parseOptions, UsageError } from '../../harness/options.js';
import { FAIL_POINTS } from './fail-points.js';
import { FAULT_KINDS, type FaultKind } from './faults.js';
import { PLANTED_BUGS } from './planted/bugs.js';

/** The kind of run and its parameters. */
export interface Options {
  readonly mode: 'random' | 'fail points' | 'planted';
  readonly seconds: number;
  readonly seed: number;
  readonly replicas: number;
  readonly faults: readonly FaultKind[];
  /** The names of the planted bugs or fail points to run; all if empty. */
  readonly only: readonly string[];
}

/** The command line that repeats a random run. */
export function argumentsOf({ seed, seconds, replicas, faults }: Options): string {
  const kinds = faults.length < FAULT_KINDS.length ? ` --faults '${faults.join()}'` : '';
  return `--seed ${seed} --seconds ${seconds} --replicas ${replicas}${kinds}`;
}

export const USAGE = `Usage: npm run chaos [-- options]

Runs several processes of the service, injects faults into the processes, the network, the database and the bank at random, and checks
what clients saw, what the database contains and what the bank wrote into its journal. The last line is the verdict: valid, invalid or unknown.

  --seconds N     seconds for which clients send requests while faults are injected (default: 60)
  --seed N        the seed of all random choices (default: a new seed for each run)
  --replicas N    processes of the service, from 2 to 8 (default: 3)
  --faults A,B    the kinds of faults to inject (default: all of ${FAULT_KINDS.join(', ')})
  --fail-points   instead of random faults, kill and freeze a process at every step of the protocol in turn
  --planted       instead of random faults, put known bugs into the service, one by one, and expect that the checker finds each bug
  NAME …          with --fail-points or --planted: only these fail points or bugs

Exit code: 0 if valid, 1 if invalid or unknown, 2 if the run could not start. A run leaves its history, the bank’s journal, logs and a chart in .chaos/.
`;

/** @throws UsageError if the command line cannot be used */
export function readOptions(args: string[]): Options {
  const { values, positionals } = parseOptions({
    args,
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
      replicas: { type: 'string', default: '3' },
      // An empty list is refused like an unknown name, because a run without faults proves nothing.
      faults: { type: 'string', default: FAULT_KINDS.join() },
      'fail-points': { type: 'boolean', default: false },
      planted: { type: 'boolean', default: false },
    },
  });
  if (values.planted && values['fail-points']) throw new UsageError('--planted, --fail-points: expected one of them');
  const mode = values.planted ? 'planted' : values['fail-points'] ? 'fail points' : 'random';
  if (mode === 'random' && positionals.length > 0)
    throw new UsageError(`${positionals.join(' ')}: expected options only`);
  return {
    mode,
    seconds: integer('--seconds', values.seconds, 1, 86_400),
    seed: integer('--seed', values.seed, 0, 2 ** 32 - 1),
    replicas: integer('--replicas', values.replicas, 2, 8),
    faults: values.faults.split(',').map((name) => oneOf('--faults', name, FAULT_KINDS)),
    only: positionals.map((name) => oneOf('name', name, NAMES[mode])),
  };
}

const NAMES: Record<Options['mode'], readonly string[]> = {
  random: [],
  'fail points': FAIL_POINTS,
  planted: PLANTED_BUGS.map(({ name }) => name),
};
