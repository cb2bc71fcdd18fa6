import { readFile, writeFile } from 'node:fs/promises';
import { optionsOfProcess } from '../harness/options.js';
import { runTool } from '../harness/processes.js';
import { Progress } from '../harness/progress.js';
import { type Cell, differences, type Matrix, numbersOf, toMarkdown, withMatrix } from './matrix.js';
import { type Options, readOptions, usageOf } from './options.js';
import { findScenarios } from './scenarios/find-scenarios.js';
import { play } from './scenarios/play.js';
import type { Scenario } from './scenarios/scenario.js';
import { findImplementations, type Implementation } from './world/implementations.js';
import { World } from './world/world.js';

const DOCUMENT = 'docs/ladder.md';
/** Short, because most of the time of a run is waiting for a lease to end. Long enough for a busy machine to finish a request in time. */
const LEASE_SECONDS = 2;
/** Worlds that run at the same time, because each of them spends most of its time waiting. */
const LANES = 2;

const print = (text: string) => void process.stdout.write(`${text}\n`);

type Cells = Map<string, Cell>;
const nameOf = ({ label }: Implementation, { title }: Scenario) => `${label}\n${title}`;

async function playAll(implementations: readonly Implementation[], scenarios: readonly Scenario[]): Promise<Cells> {
  const cells: Cells = new Map();
  const waiting = [...implementations];
  const progress = new Progress(implementations.length * scenarios.length);
  const lane = async () => {
    const world = await World.start();
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      await world.use(next, LEASE_SECONDS);
      for (const scenario of scenarios) {
        progress.show(`step ${next.label}: ${scenario.title}`);
        const verdict = await play(world, scenario);
        cells.set(nameOf(next, scenario), verdict);
        const result = `${verdict.held ? 'held' : 'BROKEN'} ${numbersOf(verdict)}: ${verdict.sentence}`;
        progress.finish(`step ${next.label}, ${scenario.name}: ${result}`);
      }
    }
    await world.end();
  };
  await Promise.all(Array.from({ length: Math.min(LANES, implementations.length) }, lane));
  return cells;
}

async function main({ steps, scenarios, isCheck }: Options): Promise<number> {
  const implementations = allImplementations.filter(({ label }) => steps.length === 0 || steps.includes(label));
  const played = allScenarios.filter(({ name }) => scenarios.length === 0 || scenarios.includes(name));
  const cells = await playAll(implementations, played);
  const matrix: Matrix = {
    labels: implementations.map(({ label }) => label),
    rows: played.map((scenario) => ({
      title: scenario.title,
      cells: Object.fromEntries(implementations.map((each) => [each.label, cells.get(nameOf(each, scenario))])),
    })),
  };
  for (const { cells: row, title } of matrix.rows) {
    for (const label of matrix.labels)
      if (row[label]?.held === false) print(`step ${label}, ${title}: ${row[label].sentence}`);
  }
  print(`\n${toMarkdown(matrix)}\n\ncaptures / charges / acknowledged replies, and ≠ before replies with other bytes`);
  const scope = steps.length + scenarios.length === 0 ? 'all' : 'some';
  const isAsWritten = isCheck ? await isInDocument(matrix, scope) : await writeToDocument(matrix, scope);
  return isAsWritten && isServiceSound(matrix) ? 0 : 1;
}

type Scope = 'all' | 'some';

/** Whether the document has these results. Prints the differences. */
async function isInDocument(matrix: Matrix, scope: Scope): Promise<boolean> {
  const found = differences(matrix, await readFile(DOCUMENT, 'utf8'), scope);
  found.forEach(print);
  return found.length === 0;
}

/** Writes the matrix into the document, unless only a part of it was measured. */
async function writeToDocument(matrix: Matrix, scope: Scope): Promise<true> {
  if (scope === 'all') await writeFile(DOCUMENT, withMatrix(await readFile(DOCUMENT, 'utf8'), toMarkdown(matrix)));
  return true;
}

/** The last two implementations are the service. If one of them breaks, the run has found a bug. */
function isServiceSound({ rows }: Matrix): boolean {
  const labels = allImplementations.slice(-2).map(({ label }) => label);
  return rows.every(({ cells }) => labels.every((label) => cells[label]?.held ?? true));
}

const [allImplementations, allScenarios] = await Promise.all([findImplementations(), findScenarios()]);
const names = [allImplementations.map(({ label }) => label), allScenarios.map(({ name }) => name)] as const;
const options = optionsOfProcess(usageOf(...names), (args) => readOptions(args, ...names));
// The embedded PostgreSQL stops by itself when this process ends.
await runTool(() => main(options));
