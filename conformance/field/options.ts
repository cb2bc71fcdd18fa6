import { parseOptions, UsageError } from '../../harness/options.js';
import type { Library } from './library.js';

export const USAGE = `Usage: npm run field -- [options]

Installs libraries for idempotency keys, starts a small server with each, checks them with the conformance kit, and writes the findings to
docs/field.md and conformance/field/results.json. Needs redis-server, and the package manager of each language: npm, Python 3 with venv, Go, Cargo, and
Maven with Java 17. A library takes about a minute after its first installation, which goes to .field/.

  --only NAMES          only these libraries, separated by commas
  --language LANGUAGES  only libraries of these languages, separated by commas
  --check               compare the verdicts with the committed table, and write nothing
  --document            write docs/field.md again from the results of the last measurement, and measure nothing
  --list                print the names of the libraries and their languages

Exit code: 0, or 1 if --check finds another verdict, or 2 if a library could not be checked or the command line cannot be used.
`;

export interface FieldOptions {
  readonly libraries: readonly Library[];
  readonly does: 'measure' | 'check' | 'document' | 'list';
}

/** @throws UsageError if the command line cannot be used */
export function readOptions(args: string[], all: readonly Library[]): FieldOptions {
  const { values } = parseOptions({
    args,
    options: {
      only: { type: 'string' },
      language: { type: 'string' },
      check: { type: 'boolean', default: false },
      document: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  });
  const names = listed(
    '--only',
    values.only,
    all.map(({ name }) => name),
  );
  const languages = listed(
    '--language',
    values.language,
    all.map(({ language }) => language),
  );
  return {
    libraries: all.filter(({ name, language }) => names.includes(name) && languages.includes(language)),
    does: (['list', 'document', 'check'] as const).find((name) => values[name]) ?? 'measure',
  };
}

/** @throws UsageError if a word is not one of the known words; all known words if there is no text */
function listed(option: string, text: string | undefined, known: readonly string[]): readonly string[] {
  if (text === undefined) return known;
  return text.split(',').map((word) => {
    const found = known.find((one) => one.toLowerCase() === word.trim().toLowerCase());
    if (found === undefined)
      throw new UsageError(`${option} ${word}: expected one of ${[...new Set(known)].join(', ')}`);
    return found;
  });
}
