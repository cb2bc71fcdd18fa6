import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Replication } from '../../harness/postgres-cluster.js';
import type { CommitFault, PostgresProxy, ProxyFault, Silence } from '../../harness/proxy.js';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import type { Arena } from './arena.js';
import { attempt } from './attempt.js';
import type { BankFault } from './bank.js';
import { BROKER_FAULTS } from './broker-faults.js';
import type { BusKind } from './bus.js';
import { CLUSTER_FAULTS } from './cluster-faults.js';
import { recordedLongAgo } from './expiring.js';
import type { Fault } from './fault.js';
import { chargeOf } from './operations.js';
import type { Random } from './random.js';
import { ACCOUNTS, type ChaosReplica } from './replicas.js';
import { SESSION_FAULTS } from './session-faults.js';
import { FREEZE_MS, QUERY_TIMEOUT_MS, RECOVERY_MS } from './timing.js';

/** How long the bank misbehaves. */
const BANK_FAULT_MS = 800;
/** How long a fault of a proxy waits for the statement that it breaks. */
const ARMED_MS = 1_500;
/** The delay of a late COMMIT, which arrives before or after the lease has expired. */
const LATE_MS = { least: 100, most: 2_500 };
/** How long a fail point is armed. Not every request reaches each step. */
const FAIL_POINT_MS = 4_000;
/** How long to wait for a replica that no other fault has chosen. */
const IDLE_MS = 5_000;
const LOOK_INTERVAL_MS = 50;
/** The pause before a process that died is started again, as a supervisor would do. */
const RESTART_MS = { least: 50, most: 800 };
const STORM_REQUESTS = 40;
/** Clients that keep requesting a reply while it expires. */
const EDGE = { livesMs: 1_500, clients: 6, pauseMs: 25, afterMs: 700 };

const isIdle = ({ busy, runs }: ChaosReplica) => !busy && runs;

/** Runs `work` on a replica that no other fault has chosen. Does nothing if there is none within five seconds. */
async function withReplica(
  { replicas }: Arena,
  random: Random,
  work: (replica: ChaosReplica) => Promise<void>,
): Promise<void> {
  // One running replica is always left alone, so that clients can still get answers.
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

/** Arms a fault in the proxy between a replica and the database for a while. The proxy reports if the fault lands. */
const proxyFault =
  (arm: (database: PostgresProxy, random: Random) => () => void): Fault =>
  async ({ replicas }, random) => {
    const takeBack = arm(random.pick(servingOf(replicas)).database, random);
    await pause(ARMED_MS);
    takeBack();
  };

/** The replicas that are not being started, or all replicas if there are none. If a fault broke each start on a busy machine, the start would never succeed. */
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
    // After this time the replica has given up each of these connections.
    await pause(QUERY_TIMEOUT_MS);
  };

const bankFault =
  (fault: BankFault): Fault =>
  async (arena) => {
    arena.setBankFault(fault);
    await pause(BANK_FAULT_MS);
    arena.setBankFault(undefined);
  };

export const FAULTS = {
  /** SIGKILL, at any moment. */
  kill: (arena, random, landed) =>
    withReplica(arena, random, async (replica) => {
      replica.signal('SIGKILL');
      if ((await replica.ended()) === 'SIGKILL') landed(`replica ${replica.number}`);
      await restart(replica, random);
    }),

  /** SIGSTOP until the lease has expired, then SIGCONT. The process wakes up without knowing that its requests have been taken over. */
  freeze: (arena, random, landed) =>
    withReplica(arena, random, async (replica) => {
      replica.signal('SIGSTOP');
      await pause(FREEZE_MS);
      replica.signal('SIGCONT');
      if (replica.runs) landed(`replica ${replica.number}`);
    }),

  /** Kills or freezes a process at a named step. */
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

  /** SIGTERM under load. The process answers the requests that it has begun and exits with 0. */
  sigterm: (arena, random, landed) =>
    withReplica(arena, random, async (replica) => {
      replica.signal('SIGTERM');
      if ((await replica.ended()) === 0) landed(`replica ${replica.number}`);
      await restart(replica, random);
    }),

  'commit request dropped': commitFault('drop request'),
  'commit reply dropped': commitFault('drop reply'),
  'commit late': commitFault('late'),
  'commit cancelled': commitFault('cancel commit'),
  'begin cancelled': proxyFault((database) => database.failBegin('cancel begin')),

  ...SESSION_FAULTS,

  /** Ends a new connection as soon as it is ready. All existing connections are cut, so that the replica opens new ones. */
  'connection ended at birth': proxyFault((database) => {
    const takeBack = database.endAtBirth();
    database.cut();
    return takeBack;
  }),

  /** Kills PostgreSQL with SIGKILL. Its guard starts it again, and it recovers from its log. */
  'database killed': async (arena, _random, landed) => {
    const { postgres } = arena;
    if (!(postgres instanceof EmbeddedPostgres)) return;
    const { pid } = postgres;
    // Only a server that this run has started is killed. Its pid is undefined while the server is being restarted.
    if (pid === undefined || postgres.shared) return;
    process.kill(pid, 'SIGKILL');
    const deadline = performance.now() + RECOVERY_MS;
    const isDown = () => postgres.pid === pid || postgres.pid === undefined;
    while (isDown() && performance.now() < deadline) await pause(LOOK_INTERVAL_MS);
    if (isDown()) return;
    landed(`process ${pid}`);
  },

  /** Breaks all connections of a replica to the database, to the bank and to its clients at once. */
  'network cut': (arena, random, landed) => {
    const { database, gateway, clients, number } = random.pick(arena.replicas);
    const broken = database.cut();
    for (const line of [gateway, clients]) {
      line.cut();
      line.mend();
    }
    // A replica that is being started has no connections.
    if (broken > 0) landed(`replica ${number}`);
    return Promise.resolve();
  },

  /** The network drops everything on the existing connections of a replica to the database, without notifying either side. New connections work. */
  'network silent': silence('both ways'),
  'network silent to the database': silence('to the database'),
  'network silent from the database': silence('from the database'),

  'gateway lost answer': bankFault('lost answer'),
  'gateway slow': bankFault('slow'),
  'gateway down': bankFault('down'),
  /** The bank decides, but answers with bytes that are not a decision. */
  'gateway nonsense': bankFault('nonsense'),
  /** The bank decides some charges and answers nothing about them until it has forgotten their keys. */
  'gateway forgets': bankFault('forgets'),

  /** Sends many requests with one new key to all replicas at once. */
  storm: async (arena, random, landed) => {
    const operation = newCharge(random, 'storm');
    arena.history.add({ type: 'operation', operation });
    const outcomes = await Promise.all(
      Array.from({ length: STORM_REQUESTS }, () => attempt(arena.history, operation, random.pick(arena.replicas))),
    );
    if (outcomes.filter(({ type }) => type === 'ok').length > 1) landed(operation.id);
  },

  /** Requests a reply all the time while it expires and the sweep runs every second. */
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

  /** Lets clients hang up before they have an answer. The clients do so themselves. */
  'client hangs up': () => pause(BANK_FAULT_MS),

  ...CLUSTER_FAULTS,

  ...BROKER_FAULTS,
} satisfies Record<string, Fault>;

export type FaultKind = keyof typeof FAULTS;
export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[];

export const needsCluster = (kind: FaultKind) => kind in CLUSTER_FAULTS;

/** The kinds of faults that fit the database and the bus of a run. A cluster replaces a primary that was killed, so it has no 'database killed'. */
export const kindsOf = (replication?: Replication, bus?: BusKind): readonly FaultKind[] =>
  FAULT_KINDS.filter((kind) => {
    if (kind in BROKER_FAULTS) return bus !== undefined;
    return replication ? kind !== 'database killed' : !needsCluster(kind);
  });

/** The kinds of faults by the names that proxies and the bank report. */
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
  forgets: 'gateway forgets',
};

/**
 * Sends a COMMIT that was held back to PostgreSQL.
 *
 * @returns whether PostgreSQL has answered. Another fault may have ended the transaction earlier.
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
