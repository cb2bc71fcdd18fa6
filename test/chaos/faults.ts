import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { CommitFault, PostgresProxy, ProxyFault, Silence } from '../../harness/proxy.js';
import type { Arena } from './arena.js';
import { attempt } from './attempt.js';
import type { BankFault } from './bank.js';
import { recordedLongAgo } from './expiring.js';
import { chargeOf } from './operations.js';
import type { Random } from './random.js';
import { ACCOUNTS, type ChaosReplica } from './replicas.js';
import { FREEZE_MS, QUERY_TIMEOUT_MS, RECOVERY_MS } from './timing.js';

/** Tells that a fault has landed, and at what. */
type Landed = (about?: string) => void;

/** One injection of a fault. Resolves when what it broke is whole again; the promise never rejects for what was broken. */
type Fault = (arena: Arena, random: Random, landed: Landed) => Promise<void>;

/** For how long the bank misbehaves. */
const BANK_FAULT_MS = 800;
/** By then the statement that a fault waits for has passed, if there was any. */
const ARMED_MS = 1_500;
/** How often statements are cancelled, one after the other. */
const CANCEL_ROUNDS = 25;
/** A COMMIT that is late arrives before the lease has lapsed, or after. */
const LATE_MS = { least: 100, most: 2_500 };
/** Of waiting for a step, which not every request comes to. */
const FAIL_POINT_MS = 4_000;
/** Of waiting for a replica to which nothing is being done. */
const IDLE_MS = 5_000;
const LOOK_INTERVAL_MS = 50;
/** Until a process that died is started again, as a supervisor would. */
const RESTART_MS = { least: 50, most: 800 };
const STORM_REQUESTS = 40;
/** Requests for a reply that expires now, so many and so often. */
const EDGE = { livesMs: 1_500, clients: 6, pauseMs: 25, afterMs: 700 };

const isIdle = ({ busy, runs }: ChaosReplica) => !busy && runs;

/** Does something to a replica to which nothing is being done; nothing, when there is none for a while. */
async function withReplica(
  { replicas }: Arena,
  random: Random,
  work: (replica: ChaosReplica) => Promise<void>,
): Promise<void> {
  // The last one that is well is left alone, or there would be nobody to ask.
  const deadline = performance.now() + IDLE_MS;
  while (replicas.filter(isIdle).length < 2 && performance.now() < deadline) await pause(LOOK_INTERVAL_MS);
  const idle = replicas.filter(isIdle);
  if (idle.length < 2) return;
  const replica = random.pick(idle);
  replica.busy = true;
  try {
    await work(replica);
  } finally {
    replica.busy = false;
  }
}

/** Waits for the end of a process, and starts it again. */
async function restart(replica: ChaosReplica, random: Random): Promise<void> {
  await replica.ended();
  await pause(random.integer(RESTART_MS.least, RESTART_MS.most));
  await replica.begin();
}

/** Has the proxy before a replica wait for something to break. The proxy says when that has happened. */
const proxyFault =
  (arm: (database: PostgresProxy, random: Random) => () => void): Fault =>
  async ({ replicas }, random) => {
    const takeBack = arm(random.pick(servingOf(replicas)).database, random);
    await pause(ARMED_MS);
    takeBack();
  };

/** Those that are not being started, or all of them: on a busy machine, a start that is broken each time would never end. */
function servingOf(replicas: readonly ChaosReplica[]): readonly ChaosReplica[] {
  const serving = replicas.filter(isIdle);
  return serving.length > 0 ? serving : replicas;
}

const commitFault = (fault: CommitFault) =>
  proxyFault((database, random) => database.failCommit(fault, random.integer(0, 3)));

const silence =
  (which: Silence): Fault =>
  async ({ replicas }, random, landed) => {
    const { database, number } = random.pick(servingOf(replicas));
    const connections = database.fallSilent(which);
    if (connections > 0) landed(`replica ${number}, ${connections} connections`);
    // By then the replica has given up on each of them.
    await pause(QUERY_TIMEOUT_MS);
  };

const bankFault =
  (fault: BankFault): Fault =>
  async (arena) => {
    arena.orderBank(fault);
    await pause(BANK_FAULT_MS);
    arena.orderBank(undefined);
  };

export const FAULTS = {
  /** SIGKILL, at any moment. */
  kill: (arena, random, landed) =>
    withReplica(arena, random, async (replica) => {
      replica.signal('SIGKILL');
      if ((await replica.ended())?.signalCode === 'SIGKILL') landed(`replica ${replica.number}`);
      await restart(replica, random);
    }),

  /** SIGSTOP until past the lease, then SIGCONT: it wakes up and believes that it holds what others have taken over. */
  freeze: (arena, random, landed) =>
    withReplica(arena, random, async (replica) => {
      replica.signal('SIGSTOP');
      await pause(FREEZE_MS);
      replica.signal('SIGCONT');
      if (replica.runs) landed(`replica ${replica.number}`);
    }),

  /** Killed or frozen at a named step. */
  'fail point': (arena, random, landed) =>
    withReplica(arena, random, async (replica) => {
      const { point, stop } = random.pick(arena.stops);
      if (!(await replica.stopAt({ point, stop }, FAIL_POINT_MS))) return;
      landed(`${point}, ${stop}`);
      if (stop === 'kill') return restart(replica, random);
      if (stop === 'lose answer') return;
      await pause(FREEZE_MS);
      replica.signal('SIGCONT');
    }),

  /** SIGTERM under load: it answers what it has begun, and ends with 0. */
  sigterm: (arena, random, landed) =>
    withReplica(arena, random, async (replica) => {
      replica.signal('SIGTERM');
      if ((await replica.ended())?.exitCode === 0) landed(`replica ${replica.number}`);
      await restart(replica, random);
    }),

  'commit request dropped': commitFault('drop request'),
  'commit reply dropped': commitFault('drop reply'),
  'commit late': commitFault('late'),
  'commit cancelled': commitFault('cancel commit'),
  'begin cancelled': proxyFault((database) => database.failBegin('cancel begin')),

  /** pg_cancel_backend, of about half of what runs, again and again. */
  'statements cancelled': async (arena, _random, landed) => {
    let cancelled = 0;
    for (let round = 0; round < CANCEL_ROUNDS; round++) {
      cancelled += (await arena.database.query(CANCEL).catch(() => [])).length;
    }
    if (cancelled > 0) landed(`${cancelled} statements`);
  },

  /** pg_terminate_backend, of every other connection. */
  'connections terminated': async (arena, _random, landed) => {
    const terminated = await arena.database.query(TERMINATE).catch(() => []);
    if (terminated.length > 0) landed(`${terminated.length} connections`);
  },

  /** A new connection is ended as soon as it is ready. Those that there are break, so that new ones are made. */
  'connection ended at birth': proxyFault((database) => {
    const takeBack = database.endAtBirth();
    database.cut();
    return takeBack;
  }),

  /** kill -9 of PostgreSQL, which recovers from its log and is started again by whoever owns it. */
  'database killed': async (arena, _random, landed) => {
    const { postgres } = arena;
    const { pid } = postgres;
    // Ours: it is undefined while the one that we started before is being replaced.
    if (pid === undefined || postgres.shared) return;
    process.kill(pid, 'SIGKILL');
    const deadline = performance.now() + RECOVERY_MS;
    const isAway = () => postgres.pid === pid || postgres.pid === undefined;
    while (isAway() && performance.now() < deadline) await pause(LOOK_INTERVAL_MS);
    if (isAway()) return;
    landed(`process ${pid}`);
  },

  /** Every connection of a replica to the database, to the bank and to its clients breaks at once. */
  'network cut': (arena, random, landed) => {
    const { database, gateway, clients, number } = random.pick(arena.replicas);
    const broken = database.cut();
    for (const line of [gateway, clients]) {
      line.cut();
      line.mend();
    }
    // One that is being started again has none.
    if (broken > 0) landed(`replica ${number}`);
    return Promise.resolve();
  },

  /** The network forgets the connections of a replica to the database, and neither side is told. New ones work. */
  'network silent': silence('both ways'),
  'network silent to the database': silence('to the database'),
  'network silent from the database': silence('from the database'),

  'gateway lost answer': bankFault('lost answer'),
  'gateway slow': bankFault('slow'),
  'gateway down': bankFault('down'),
  /** The bank decides, and answers with bytes that are not a decision. */
  'gateway nonsense': bankFault('nonsense'),

  /** Many at once with one new key, at every replica. */
  storm: async (arena, random, landed) => {
    const operation = newCharge(random, 'storm');
    arena.history.add({ type: 'operation', operation });
    const outcomes = await Promise.all(
      Array.from({ length: STORM_REQUESTS }, () => attempt(arena.history, operation, random.pick(arena.replicas))),
    );
    if (outcomes.filter(({ type }) => type === 'ok').length > 1) landed(operation.id);
  },

  /** A reply that expires while it is asked for all the time, and swept all the time. */
  'edge of expiry': async (arena, random, landed) => {
    const operation = newCharge(random, 'edge');
    arena.history.add({ type: 'operation', operation });
    const expiresAt = Date.now() + EDGE.livesMs;
    const reply = await recordedLongAgo(arena, operation, expiresAt);
    arena.history.add({ type: 'recorded', operation: operation.id, reply, expiresAt });
    const seen = new Set<string>();
    const ask = async () => {
      while (Date.now() < expiresAt + EDGE.afterMs) {
        const outcome = await attempt(arena.history, operation, random.pick(arena.replicas));
        if (outcome.type === 'ok') seen.add(outcome.reply.body);
        await pause(EDGE.pauseMs);
      }
    };
    await Promise.all(Array.from({ length: EDGE.clients }, ask));
    if (seen.size > 1) landed(operation.id);
  },

  /** What clients do by themselves, when it is their turn: hang up before they have an answer. */
  'client hangs up': () => pause(BANK_FAULT_MS),
} satisfies Record<string, Fault>;

export type FaultKind = keyof typeof FAULTS;
export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[];
/** What a proxy or the bank calls what it did. */
export const KINDS_OF_PARTS: Record<ProxyFault | BankFault, FaultKind> = {
  'drop request': 'commit request dropped',
  'drop reply': 'commit reply dropped',
  late: 'commit late',
  'cancel commit': 'commit cancelled',
  'cancel begin': 'begin cancelled',
  'cancel behind begin': 'begin cancelled',
  'end at birth': 'connection ended at birth',
  'lost answer': 'gateway lost answer',
  slow: 'gateway slow',
  down: 'gateway down',
  nonsense: 'gateway nonsense',
};

/**
 * Lets a COMMIT arrive that was held back.
 *
 * @returns whether PostgreSQL has answered it: what else breaks may have ended its transaction before
 */
export async function releaseLate({ database }: ChaosReplica, random: Random): Promise<boolean> {
  await pause(random.integer(LATE_MS.least, LATE_MS.most));
  return database.releaseLate().then(
    () => true,
    () => false,
  );
}

const newCharge = (random: Random, kind: string) =>
  chargeOf(random.pick(ACCOUNTS), `${kind}-${randomUUID().slice(0, 8)}`, random.integer(1, 9_999));

const TERMINATE = `
  SELECT pid FROM (
    SELECT pid, row_number() OVER (ORDER BY pid) AS number FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend') AS connections
  -- Of two conditions joined by AND the planner takes the cheaper first, which is the one that ends them all.
  WHERE CASE WHEN number % 2 = 0 THEN pg_terminate_backend(pid) END`;

// In two steps, because the planner may call the function before it looks at the database, for each statement of the server.
const CANCEL = `
  WITH own AS MATERIALIZED (
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
      AND state = 'active' AND random() < 0.5)
  SELECT pid FROM own WHERE pg_cancel_backend(pid)`;
