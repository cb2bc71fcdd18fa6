import { otherTree, type Tree } from './budget/tree.js';
import { expected, integer, oneOf, optionsOfProcess, parseOptions, UsageError } from '../harness/options.js';

/** How much is measured. */
export interface Amounts {
  rounds: number;
  /** Seconds of one measurement, unless a number of requests ends it. */
  seconds: number;
}

export interface Options extends Amounts {
  /** Whether to measure just enough to show that the benchmark works. A quick run writes no documents. */
  quick: boolean;
}

/** One benchmark: its command, how much it measures, and the parts that can be measured alone. */
export interface Benchmark<Part extends string> {
  command: string;
  usual: Amounts;
  quick: Amounts;
  /** Names for `--only`. The benchmark has no such option if there are none. */
  parts: readonly Part[];
}

const MOST = 9_999;
/** The part of `npm run bench` that has options of its own. */
export const BUDGET = 'budget';

const usageOf = ({ command, usual, parts }: Benchmark<string>) => `Usage: ${command} -- [options]

  --quick        measure just enough to show that everything works, in about a minute, and write no documents
  --rounds N     number of times that everything is measured; default ${usual.rounds}
  --seconds S    seconds of each measurement; default ${usual.seconds}
${parts.length > 0 ? `  --only PART    measure one part, and write no documents: ${parts.join(', ')}\n` : ''}${
  parts.includes(BUDGET)
    ? `  --budget       short for --only ${BUDGET}: what one charge costs
  --against DIR  with --budget: compare with the checkout in this folder, which must have been built\n`
    : ''
}`;

/** @throws UsageError if the command line cannot be used */
export function readOptions<Part extends string>(
  { usual, quick, parts }: Benchmark<Part>,
  args: string[],
): Options & { only: Part | undefined; against: Tree | undefined } {
  const { values } = parseOptions({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string' },
      budget: { type: 'boolean', default: false },
      against: { type: 'string' },
    },
  });
  // A benchmark without parts has no options that select one.
  const wrong = parts.length === 0 && (['only', 'budget', 'against'] as const).find((name) => values[name]);
  if (wrong) throw new UsageError(`Unknown option '--${wrong}'`);
  const part = values.budget ? BUDGET : values.only;
  const only = part === undefined ? undefined : oneOf('--only', part, parts);
  const { against: folder } = values;
  if (folder !== undefined) expected('--against', folder, only === BUDGET, `--${BUDGET} as well`);
  const defaults = values.quick ? quick : usual;
  return {
    quick: values.quick,
    only,
    against: folder === undefined ? undefined : otherTree(folder),
    rounds: integer('--rounds', values.rounds ?? String(defaults.rounds), 1, MOST),
    seconds: integer('--seconds', values.seconds ?? String(defaults.seconds), 1, MOST),
  };
}

/** The options of this process. Ends the process if it is asked for help, or if the command line cannot be used. */
export const optionsOf = <Part extends string>(benchmark: Benchmark<Part>) =>
  optionsOfProcess(usageOf(benchmark), (args) => readOptions(benchmark, args));

/** The command that measures one part again, with the same amounts and against the same tree. */
export function commandOf(
  part: string,
  { quick, rounds, seconds, against }: Options & { against?: Tree | undefined },
): string {
  const amounts = `${quick ? ' --quick' : ''} --rounds ${rounds} --seconds ${seconds}`;
  return `npm run bench -- --only ${part}${amounts}${against ? ` --against ${against.name}` : ''}`;
}
