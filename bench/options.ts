import { parseArgs } from 'node:util';

/** How much is measured. */
export interface Options {
  /** For the harness's own health: as little as shows that everything works, and nothing is written. */
  quick: boolean;
  rounds: number;
  /** Of one measurement. */
  seconds: number;
}

/** A command line that makes no sense. */
class UsageError extends Error {}

/**
 * The options of this process. Ends it with 2 and the usage when they make no sense.
 *
 * @param usual what is measured without options
 * @param quick what is measured with `--quick`
 */
export function optionsOfProcess(
  command: string,
  usual: Omit<Options, 'quick'>,
  quick: Omit<Options, 'quick'>,
): Options {
  try {
    const { values } = parseArgs({
      options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' }, seconds: { type: 'string' } },
    });
    const defaults = values.quick ? quick : usual;
    return {
      quick: values.quick,
      rounds: wholeNumber('rounds', values.rounds) ?? defaults.rounds,
      seconds: wholeNumber('seconds', values.seconds) ?? defaults.seconds,
    };
  } catch (error) {
    if (!(error instanceof UsageError) && !(error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')) throw error;
    process.stderr.write(`${(error as Error).message}

Usage: ${command} -- [--quick] [--rounds N] [--seconds S]
  --quick      as little as shows that everything works, in under a minute; writes no documents
  --rounds N   how often everything is measured: ${usual.rounds} unless told
  --seconds S  how long each measurement takes: ${usual.seconds} unless told
`);
    process.exit(2);
  }
}

function wholeNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^\d{1,4}$/.test(text) && number >= 1) return number;
  throw new UsageError(`--${name} ${text}: expected a whole number from 1 to 9999`);
}
