import { rm, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { optionsOfProcess } from '../../harness/options.js';
import { runTool } from '../../harness/processes.js';
import { Progress } from '../../harness/progress.js';
import { Arena } from './arena.js';
import { Bus } from './bus.js';
import type { Verdict } from './checker/verdict.js';
import { USUAL } from './clients.js';
import { type Database, withDatabase } from './database.js';
import { isOfRequest, STOP_CASES, SUBJECTS } from './fail-points.js';
import { needsCluster } from './faults.js';
import { lostAnswers } from './lost-answers.js';
import { argumentsOf, type Options, readOptions, USAGE } from './options.js';
import { PLANTED_BUGS, type PlantedBug } from './planted/bugs.js';
import { buildWith } from './planted/build.js';
import { type Search, searchFor } from './planted/search.js';
import { run, type RunResult } from './run.js';
import { stopAt } from './stops.js';
import { timeline } from './timeline.js';

const print = (text: string) => void process.stdout.write(`${text}\n`);
/** The built service, without a planted bug. */
const BUILD = fileURLToPath(new URL('../..', import.meta.url));
/** The directory of the files that help to find the cause of a verdict. */
const KEPT = resolve('.chaos');
const VIOLATIONS_SHOWN = 20;
/** Fail points that are tried at the same time, because each of them spends most of its time waiting. */
const LANES = 3;
/** In a random run each fault has to land once, and gets more time if it has not landed. */
const RANDOM_LOAD = { attempts: 0, landings: 1, graceMs: 120_000 };
/** Limits in attempts and landings rather than seconds, so that a busy machine does the same work and only takes longer. */
const PLANTED_LOAD = { seconds: 4, attempts: 250, landings: 3, graceMs: 180_000 };
/** Longer than a lease and a retry, so that the bug is the only reason for work that makes no progress. */
const PLANTED_PATIENCE_MS = 8_000;

/** Injects random faults for the given time. */
async function random(postgres: Database, options: Options): Promise<boolean> {
  const { seed, seconds, replicas, replication, faults, chart } = options;
  const directory = join(KEPT, String(seed));
  const database = replication ? `a cluster with ${replication} replication` : 'one server';
  const carrier = options.bus ? ` and ${options.bus}` : '';
  print(`seed ${seed}: ${seconds} s, ${replicas} replicas on ${database}${carrier}, ${faults.length} kinds of faults`);
  const bus = options.bus && (await Bus.start(options.bus));
  // Both committers run against each other on the same keys.
  const arena = await Arena.start({
    postgres,
    bus,
    name: 'chaos',
    build: BUILD,
    replicas,
    plainReplicas: 1,
    directory,
  });
  const load = { seconds, ...RANDOM_LOAD };
  const result = await run({ arena, seed, load, faults, progress: new Progress(seconds) });
  await arena.end();
  await bus?.end();
  const { events } = arena.history;
  const lost = lostAnswers(events).size;
  const title = `${database}, seed ${seed}: ${result.counts.attempts} attempts, ${lost} answers lost, ${result.verdict}`;
  const files = [join(directory, 'timeline.svg'), ...(chart ? [chart] : [])];
  for (const file of files) await writeFile(file, timeline(title, events, faults));
  for (const [kind, { attempted, landed }] of result.faults) {
    print(`  ${kind.padEnd(32)} ${String(attempted).padStart(5)} attempted ${String(landed).padStart(5)} landed`);
  }
  await printReasons(result, directory, argumentsOf(options));
  print(`history, journal, logs and a chart are in ${relative('.', directory)}`);
  print(summary(seed, result));
  return result.verdict === 'valid';
}

/** Kills and freezes a process at every step of the protocol in turn. */
async function failPoints(postgres: Database, { only }: Options): Promise<boolean> {
  const cases = STOP_CASES.filter(({ point }) => only.length === 0 || only.includes(point)).flatMap((stop) =>
    SUBJECTS.filter((subject) => subject === 'charges' || isOfRequest(stop.point)).map((subject) => ({
      stop,
      subject,
    })),
  );
  const waiting = [...cases];
  const verdicts: string[] = [];
  const lane = async (number: number) => {
    const directory = join(KEPT, `fail-points-${number}`);
    const arena = await Arena.start({ postgres, name: `lane_${number}`, build: BUILD, replicas: 2, directory });
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { stop, subject } = next;
      const result = await stopAt(arena, stop, subject);
      verdicts.push(result.verdict);
      print(`${stop.point.padEnd(22)} ${stop.stop.padEnd(6)} ${subject.padEnd(7)} ${result.verdict}`);
      if (result.verdict === 'valid') continue;
      await printReasons(result, directory, `--fail-points ${stop.point}`);
      print(`history, journal and logs are in ${relative('.', directory)}`);
      // The violation stays in this database, so the remaining cases of this lane would report it too.
      return;
    }
    await arena.end();
    await rm(directory, { recursive: true });
  };
  await Promise.all(Array.from({ length: Math.min(LANES, cases.length) }, (_, i) => lane(i + 1)));
  const valid = verdicts.filter((verdict) => verdict === 'valid').length;
  print(
    `${valid} of ${cases.length} valid: a process was killed and frozen at each of ${new Set(cases.map(({ stop }) => stop.point)).size} fail points`,
  );
  return valid === cases.length;
}

/** Checks the checker: it must find every planted bug, and report the invariant that the bug breaks. */
async function planted(postgres: Database, { only, seed }: Options): Promise<boolean> {
  const bugs = PLANTED_BUGS.filter(({ name }) => only.length === 0 || only.includes(name));
  const counts: Record<Search['end'], number> = { found: 0, MISSED: 0, 'NOT PROVOKED': 0 };
  for (const bug of bugs) {
    const build = await buildWith(bug, BUILD, join(KEPT, 'planted', 'build'));
    const search = (database: Database) =>
      searchFor(bug, (round) => runPlanted(database, bug, build, seed + round - 1, round), PLANTED_LOAD.landings);
    const { end, about } = bug.faults.some(needsCluster)
      ? await withDatabase('quorum', search)
      : await search(postgres);
    counts[end]++;
    print(`${end.padEnd(15)}  ${bug.name.padEnd(34)} ${bug.breaks}; ${about}`);
  }
  const { found, MISSED: missed, 'NOT PROVOKED': unprovoked } = counts;
  if (found === bugs.length) await rm(join(KEPT, 'planted'), { recursive: true, force: true });
  print(`${found} of ${bugs.length} planted bugs found, ${missed} missed, ${unprovoked} not provoked; seed ${seed}`);
  return found === bugs.length;
}

async function runPlanted(
  postgres: Database,
  bug: PlantedBug,
  build: string,
  seed: number,
  round: number,
): Promise<RunResult> {
  const [name, directory] = [`planted_${PLANTED_BUGS.indexOf(bug)}_${round}`, join(KEPT, 'planted', bug.name)];
  const arena = await Arena.start({ postgres, name, build, replicas: 3, directory });
  arena.stops = bug.stops ?? arena.stops;
  const habits = { ...USUAL, ...bug.habits };
  const [load, patienceMs] = [PLANTED_LOAD, PLANTED_PATIENCE_MS];
  const progress = new Progress(load.seconds);
  const result = await run({ arena, seed, load, faults: bug.faults, habits, patienceMs, progress });
  await arena.end();
  return result;
}

/** Stores the verdict, and prints why it is not `valid` and the command that repeats the run. */
async function printReasons(result: Verdict, directory: string, again: string): Promise<void> {
  await writeFile(join(directory, 'verdict.json'), JSON.stringify(result, null, 2));
  if (result.verdict === 'valid') return;
  for (const { invariant, about } of result.violations.slice(0, VIOLATIONS_SHOWN))
    print(`VIOLATED ${invariant}: ${about}`);
  for (const doubt of result.doubts) print(`unknown: ${doubt}`);
  print(`repeat with: npm run chaos -- ${again}`);
}

function summary(seed: number, { counts, faults, verdict }: RunResult): string {
  const { keys, attempts, ok, fail, info } = counts;
  const landed = [...faults].map(([kind, count]) => `${kind} ${count.landed}`).join(', ');
  return `keys ${keys}, attempts ${attempts} (ok ${ok}, fail ${fail}, info ${info}); landed: ${landed}; seed ${seed}; ${verdict}`;
}

const MODES = { random, 'fail points': failPoints, planted };

const options = optionsOfProcess(USAGE, readOptions);
// The database stops by itself when this process ends.
await runTool(() =>
  withDatabase(options.replication, async (postgres) => ((await MODES[options.mode](postgres, options)) ? 0 : 1)),
);
