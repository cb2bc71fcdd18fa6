import { setTimeout as pause } from 'node:timers/promises';
import type { Progress } from '../../harness/progress.js';
import type { Arena } from './arena.js';
import { check } from './checker/checker.js';
import type { Verdict } from './checker/verdict.js';
import { Client, type ClientOptions, type Habits, resend, USUAL } from './clients.js';
import { type FaultKind, FAULTS, KINDS_OF_PARTS, releaseLate } from './faults.js';
import { Random } from './random.js';
import { ACCOUNTS } from './replicas.js';
import { PATIENCE_MS } from './timing.js';

/** Four clients of each account. They wait most of the time, so two cores are enough for the whole run. */
const CLIENTS = 12;
/** The time from the start of one fault to the start of the next one. Faults overlap. */
const FAULT_GAP_MS = { least: 300, most: 1_100 };

/** The least amount of load. A busy machine takes longer for it. */
export interface Load {
  seconds: number;
  /** Attempts of clients, with any outcome. */
  attempts: number;
  /** Number of times that each kind of fault has to land. */
  landings: number;
  /** The load ends this long after its seconds, even if a fault has not landed often enough. */
  graceMs: number;
}

export interface RunSettings {
  arena: Arena;
  seed: number;
  load: Load;
  faults: readonly FaultKind[];
  habits?: Habits;
  /** How long to wait for answers, which a service with a bug may never send. */
  patienceMs?: number;
  progress: Progress;
}

export interface RunResult extends Verdict {
  faults: Map<string, { attempted: number; landed: number }>;
}

/** Runs clients while faults are injected, waits without faults until the clients have finished, sends every key again, and returns the verdict. */
export async function run({
  arena,
  seed,
  load,
  faults,
  habits = USUAL,
  patienceMs = PATIENCE_MS,
  progress,
}: RunSettings): Promise<RunResult> {
  const { history, replicas } = arena;
  const { seconds } = load;
  const random = new Random(seed);
  const tally = new Map(faults.map((kind) => [kind as string, { attempted: 0, landed: 0 }]));
  const note = (kind: FaultKind, state: 'attempted' | 'landed', about = '') => {
    history.add({ type: 'fault', kind, state, about });
    const count = tally.get(kind);
    if (count) count[state]++;
  };
  const late = random.fork(LATE);
  arena.onLanded = (part, replica) => {
    const landed = () => note(KINDS_OF_PARTS[part], 'landed', replica ? `replica ${replica.number}` : 'the bank');
    if (part !== 'late' || !replica) return landed();
    // The fault lands when the COMMIT has arrived late, not when it is held back.
    void releaseLate(replica, late).then((hasArrived) => hasArrived && landed());
  };
  let left = [...faults];
  const hangUps = {
    enabled: false,
    attempted: () => note('client hangs up', 'attempted'),
    landed: () => note('client hangs up', 'landed'),
  };
  const options: ClientOptions = { history, accounts: ACCOUNTS, replicas, habits, hangUps };

  history.add({ type: 'phase', name: 'load' });
  const startedAt = performance.now();
  const elapsedMs = () => performance.now() - startedAt;
  let isOver = false;
  let deadline = Infinity;
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(i, options, random.fork(i)));
  const working = clients.map((client) =>
    client.work(
      () => isOver,
      () => deadline,
    ),
  );
  await injectFaults();
  isOver = true;
  hangUps.enabled = false;
  history.add({ type: 'phase', name: 'healed' });
  deadline = performance.now() + patienceMs;
  progress.show('no more faults, waiting until nothing is in flight', seconds);
  await Promise.all(working);
  await arena.quiescence(patienceMs);
  const healed = await arena.read('healed');

  history.add({ type: 'phase', name: 'resend' });
  progress.show('sending every key again', seconds);
  await resend(options, random.fork(RESEND), patienceMs);
  await arena.quiescence(patienceMs);
  const end = await arena.read('end');
  history.add({ type: 'phase', name: 'end' });
  progress.finish('database and journal have been read', seconds);
  return { ...check(arena.evidence(healed, end, faults)), faults: tally };

  /** Injects one kind of fault after the other, in a new order each round, until there was enough load and each kind has landed often enough. */
  async function injectFaults(): Promise<void> {
    const schedule = random.fork(SCHEDULE);
    const running: Promise<void>[] = [];
    for (let due = faults; due.length > 0 && elapsedMs() < seconds * 1000 + load.graceMs; due = dueNow()) {
      const kind = schedule.pick(due);
      left = left.filter((other) => other !== kind);
      const injected = inject(kind, schedule.fork(running.length));
      // A fault that cannot be repaired ends the run at the `Promise.all` below. Without this handler it would end the process at once.
      injected.catch(() => undefined);
      running.push(injected);
      progress.show(`${kind}; ${history.attemptsSoFar} attempts`, Math.min(elapsedMs() / 1000, seconds));
      await pause(schedule.integer(FAULT_GAP_MS.least, FAULT_GAP_MS.most));
    }
    await pause(seconds * 1000 - elapsedMs());
    await Promise.all(running);
  }

  /** The faults that are left in this round, or those of a new round. After enough load, the faults that have not landed often enough. */
  function dueNow(): readonly FaultKind[] {
    const isEnough = elapsedMs() > seconds * 1000 && history.attemptsSoFar >= load.attempts;
    if (isEnough) return faults.filter((kind) => (tally.get(kind)?.landed ?? 0) < load.landings);
    return (left = left.length > 0 ? left : [...faults]);
  }

  async function inject(kind: FaultKind, own: Random): Promise<void> {
    if (kind === 'client hangs up') {
      hangUps.enabled = true;
      await FAULTS[kind]();
      hangUps.enabled = false;
      return;
    }
    note(kind, 'attempted');
    await FAULTS[kind](arena, own, (about) => note(kind, 'landed', about));
  }
}

/** Indexes for `Random.fork` beyond those of the clients. */
const [SCHEDULE, RESEND, LATE] = [1_001, 1_002, 1_003];
