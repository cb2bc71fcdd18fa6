import { integer, oneOf, optionsOfProcess, parseOptions } from '../harness/options.js';

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

const usageOf = ({ command, usual, parts }: Benchmark<string>) => `Usage: ${command} -- [options]

  --quick      measure just enough to show that everything works, in about a minute, and write no documents
  --rounds N   number of times that everything is measured; default ${usual.rounds}
  --seconds S  seconds of each measurement; default ${usual.seconds}
${parts.length > 0 ? `  --only PART  measure one part, and write no documents: ${parts.join(' or ')}\n` : ''}`;

/** @throws UsageError if the command line cannot be used */
export function readOptions<Part extends string>(
  { usual, quick, parts }: Benchmark<Part>,
  args: string[],
): Options & { only: Part | undefined } {
  const { values } = parseOptions({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string' },
    },
  });
  const defaults = values.quick ? quick : usual;
  return {
    quick: values.quick,
    only: values.only === undefined ? undefined : oneOf('--only', values.only, parts),
    rounds: integer('--rounds', values.rounds ?? String(defaults.rounds), 1, MOST),
    seconds: integer('--seconds', values.seconds ?? String(defaults.seconds), 1, MOST),
  };
}

/** The options of this process. Ends the process if it is asked for help, or if the command line cannot be used. */
export const optionsOf = <Part extends string>(benchmark: Benchmark<Part>) =>
  optionsOfProcess(usageOf(benchmark), (args) => readOptions(benchmark, args));
