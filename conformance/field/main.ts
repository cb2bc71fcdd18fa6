import { writeFile } from 'node:fs/promises';
import { optionsOfProcess } from '../../harness/options.js';
import { runTool } from '../../harness/processes.js';
import { Progress } from '../../harness/progress.js';
import { DOCUMENT_FILE, fieldDocument } from './document.js';
import { LIBRARIES } from './libraries/all.js';
import type { Library } from './library.js';
import { measure } from './measure.js';
import { type FieldOptions, readOptions, USAGE } from './options.js';
import { differences, merge, readResults, RESULTS_FILE, type Row } from './results.js';
import { Stores } from './stores.js';

const SHOW_INTERVAL_MS = 1_000;
const CANNOT_CHECK = 2;

const print = (line: string) => void process.stdout.write(`${line}\n`);

/** Measures one library after the other, because each of them needs the whole machine. A library that cannot be checked does not stop the others. */
async function measureAll(libraries: readonly Library[]): Promise<{ rows: Row[]; failures: number }> {
  const stores = await Stores.start();
  const progress = new Progress(libraries.length);
  const rows: Row[] = [];
  let failures = 0;
  try {
    for (const library of libraries) {
      const { name, version } = library;
      let step = 'begins';
      const timer = setInterval(() => progress.show(`${name}: ${step}`), SHOW_INTERVAL_MS);
      try {
        const findings = await measure(library, stores, (next) => (step = next));
        rows.push({ name, version, date: new Date().toISOString().slice(0, 10), findings });
        const failed = findings.filter(({ verdict }) => verdict === 'failed').map(({ id, harm }) => `${id} (${harm})`);
        print(`${name} ${version}: ${failed.length === 0 ? 'passed' : failed.join(', ')}`);
      } catch (error) {
        failures++;
        print(`${name} ${version}: could not be checked: ${(error as Error).message}`);
      } finally {
        clearInterval(timer);
        progress.finish(name);
      }
    }
  } finally {
    await stores.stop();
  }
  return { rows, failures };
}

async function run({ libraries, does }: FieldOptions): Promise<number> {
  if (does === 'list') {
    libraries.forEach(({ name, language }) => print(`${name} (${language})`));
    return 0;
  }
  const committed = await readResults();
  if (does === 'document') {
    await writeFile(DOCUMENT_FILE, await fieldDocument(LIBRARIES, committed));
    return 0;
  }
  const { rows, failures } = await measureAll(libraries);
  if (does === 'check') {
    const found = differences(LIBRARIES, committed, rows);
    found.forEach(print);
    if (failures > 0) return CANNOT_CHECK;
    return found.length === 0 ? 0 : 1;
  }
  const results = merge(LIBRARIES, await readResults(), rows);
  await writeFile(RESULTS_FILE, `${JSON.stringify(results, null, 2)}\n`);
  await writeFile(DOCUMENT_FILE, await fieldDocument(LIBRARIES, results));
  return failures > 0 ? CANNOT_CHECK : 0;
}

await runTool(() => run(optionsOfProcess(USAGE, (args) => readOptions(args, LIBRARIES))));
