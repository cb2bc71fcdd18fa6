import { parseArgs } from 'node:util';

/** How much is measured. */
export interface Options {
  /** For the harness's own health: as little as shows that everything works, and nothing is written. */
  quick: boolean;
  rounds: number;
  /** Of one measurement, unless a number of requests ends it. */
  seconds: number;
}

type Amounts = Omit<Options, 'quick'>;

/** A command line that makes no sense. */
class UsageError extends Error {}

/**
 * The options of this process. Ends it with 2 and the usage when they make no sense.
 *
 * @param usual what is measured without options
 * @param quick what is measured with `--quick`
 * @param parts the names that `--only` may have; without any, there is no such option
 */
export function optionsOfProcess<Part extends string = never>(
  command: string,
  usual: Amounts,
  quick: Amounts,
  parts: readonly Part[] = [],
): Options & { only: Part | undefined } {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        ...(parts.length > 0 && { only: { type: 'string' as const } }),
      },
    });
    const defaults = values.quick ? quick : usual;
    return {
      quick: values.quick,
      only: oneOf('only', (values as { only?: string }).only, parts),
      rounds: wholeNumber('rounds', values.rounds) ?? defaults.rounds,
      seconds: wholeNumber('seconds', values.seconds) ?? defaults.seconds,
    };
  } catch (error) {
    if (!(error instanceof UsageError) && !(error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')) throw error;
    process.stderr.write(`${(error as Error).message}

Usage: ${command} -- [--quick] [--rounds N] [--seconds S]${parts.length > 0 ? ' [--only PART]' : ''}
  --quick      as little as shows that everything works, in about a minute; writes no documents
  --rounds N   how often everything is measured: ${usual.rounds} unless told
  --seconds S  how long each measurement takes: ${usual.seconds} unless told
${parts.length > 0 ? `  --only PART  one part, and writes no documents: ${parts.join(' or ')}\n` : ''}`);
    process.exit(2);
  }
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^\d{1,4}$/.test(text) && number >= 1) return number;
  throw new UsageError(`--${name} ${text}: expected a whole number from 1 to 9999`);
}

function oneOf<Name extends string>(option: string, text: string | undefined, names: readonly Name[]) {
  const name = names.find((one) => one === text);
  if (text === undefined || name !== undefined) return name;
  throw new UsageError(`--${option} ${text}: expected ${names.join(' or ')}`);
}
