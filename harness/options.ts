import { parseArgs, type ParseArgsConfig } from 'node:util';

/** The command line cannot be used. The message says what was expected. */
export class UsageError extends Error {}

/**
 * Reads the options of this process. Ends the process with 0 after printing the usage if `--help` is given, and with 2 after printing
 * the error and the usage if the command line cannot be used.
 *
 * @param read throws a UsageError if the command line cannot be used
 */
export function optionsOfProcess<Options>(usage: string, read: (args: string[]) => Options): Options {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(usage);
    process.exit(0);
  }
  try {
    return read(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n\n${usage}`);
    process.exit(2);
  }
}

/**
 * Parses options as `parseArgs` of `node:util` does.
 *
 * @throws UsageError if an option is unknown or lacks its value
 */
export function parseOptions<Config extends ParseArgsConfig>(config: Config): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** @throws UsageError if the text is not an integer from `least` to `most` */
export function integer(option: string, text: string, least: number, most: number): number {
  const isInteger = /^\d+$/.test(text) && Number(text) >= least && Number(text) <= most;
  return Number(expected(option, text, isInteger, `an integer from ${least} to ${most}`));
}

/** @throws UsageError if the text is not one of the names */
export function oneOf<Name extends string>(option: string, text: string, names: readonly Name[]): Name {
  return expected(option, text, (names as readonly string[]).includes(text), `one of ${names.join(', ')}`) as Name;
}

/**
 * Returns the text if it is valid.
 *
 * @param what the form that is expected, for the error
 * @throws UsageError if the text is not valid
 */
export function expected(option: string, text: string, isValid: boolean, what: string): string {
  if (!isValid) throw new UsageError(`${option} ${text}: expected ${what}`);
  return text;
}
