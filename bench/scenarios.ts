import { availableParallelism } from 'node:os';
import type { ContenderId } from './contenders/all.js';
import type { Operation } from './measurement.js';

/** The number of a measurement that a target is about. */
export type Quantity = 'requestsPerSecond' | 'p50Ms';

/** A ratio that the service should reach: its number divided by that of another contender. */
export interface Target {
  quantity: Quantity;
  against: ContenderId;
  atLeast?: number;
  atMost?: number;
  /** A sentence about the work that only one of the two contenders does. It is printed with the measured processor time if the target is missed. */
  extraWork: string;
}

/** One kind of load, and the contenders that are measured under it. */
export interface Scenario {
  /** The name for `--only`, and part of the keys of requests, so it is short. */
  id: string;
  /** The title without the number of connections; see {@link titleOf}. */
  title: string;
  /** A text about this scenario alone, for readers of the results. */
  note?: string;
  operation: Operation;
  connections: number;
  keys: 'fresh' | 'known' | 'one';
  /** The number of requests that ends a measurement. If it is not given, the seconds of the run end it. */
  requests?: { usual: number; quick: number };
  /** Sends this many requests a second. If it is not given, each connection sends its next request after an answer. */
  ratePerSecond?: number;
  contenders: readonly ContenderId[];
  /** A contender that the chart leaves out, because it is so much faster that differences between the others would not be visible. */
  offTheChart?: ContenderId;
  targets: readonly Target[];
}

/** The number of keys that are recorded before replays are measured. Recording them takes a moment only. */
export const KNOWN_KEYS = 200;
/** The largest number of database connections that all duplicates of one key may use together. */
export const STORM_CONNECTIONS_TARGET = 1;
/** Less than half of the fresh charges that `without idempotency` makes in a second on two cores, so that no contender has a queue that grows. */
const MIXED_RATE_PER_SECOND = 100;

const AGAINST_PEERS = {
  quantity: 'requestsPerSecond',
  atLeast: 3,
  extraWork:
    'The service writes its keys and replies durably into PostgreSQL, and a peer writes them into the memory of Redis.',
} as const;

/** The scenarios whose contenders run side by side. To add one, add an entry. */
export const SCENARIOS: readonly Scenario[] = [
  {
    id: 'fresh',
    title: 'Fresh charges',
    operation: 'charge',
    connections: 64,
    keys: 'fresh',
    contenders: [
      ...(['service', 'without', 'textbook', 'straight', 'noOp'] as const),
      ...(['nodeIdempotency', 'powertools', 'expressIdempotency'] as const),
    ],
    offTheChart: 'noOp',
    targets: [
      {
        quantity: 'requestsPerSecond',
        against: 'without',
        atLeast: 3.5,
        extraWork: 'The service also writes and completes a key with its reply.',
      },
      {
        quantity: 'requestsPerSecond',
        against: 'textbook',
        atLeast: 8,
        extraWork:
          'The service commits twice, so that no transaction is open while the bank is called, and the textbook commits once.',
      },
      {
        quantity: 'requestsPerSecond',
        against: 'noOp',
        atLeast: 0.33,
        extraWork:
          'The no-op has no database, guards, log and metrics; the service writes the key, the charge, the capture and the message.',
      },
      { ...AGAINST_PEERS, against: 'nodeIdempotency' },
      { ...AGAINST_PEERS, against: 'powertools' },
      {
        ...AGAINST_PEERS,
        against: 'expressIdempotency',
        extraWork: `${AGAINST_PEERS.extraWork} The endpoint on Express has no API keys, no check for card numbers, no log and no metrics.`,
      },
    ],
  },
  {
    id: 'lone',
    title: 'Fresh charges',
    operation: 'charge',
    connections: 1,
    keys: 'fresh',
    contenders: ['service', 'without', 'textbook', 'noOp'],
    offTheChart: 'noOp',
    targets: [
      {
        quantity: 'p50Ms',
        against: 'without',
        atMost: 1.1,
        extraWork:
          'A lone request shares its commits with no other request, and the service also writes and completes a key.',
      },
    ],
  },
  {
    id: 'replay',
    title: `Replays of ${KNOWN_KEYS} keys`,
    operation: 'charge',
    connections: 64,
    keys: 'known',
    contenders: ['service', 'textbook', 'nodeIdempotency', 'powertools', 'expressIdempotency', 'noOp'],
    targets: [
      {
        quantity: 'requestsPerSecond',
        against: 'noOp',
        atLeast: 0.95,
        extraWork:
          'For a replay too, the service runs its guard, searches for card numbers, hashes the body and counts metrics.',
      },
    ],
  },
  {
    id: 'storm',
    title: 'A storm of one new key',
    operation: 'charge',
    connections: 64,
    keys: 'one',
    requests: { usual: 10_000, quick: 1_000 },
    contenders: ['service', 'textbook', 'noOp'],
    targets: [
      {
        quantity: 'requestsPerSecond',
        against: 'noOp',
        atLeast: 0.5,
        extraWork: 'The duplicates that arrive before the first reply wait for it.',
      },
    ],
  },
  {
    id: 'orders',
    title: 'Fresh orders',
    operation: 'order',
    connections: 64,
    keys: 'fresh',
    contenders: ['service', 'without'],
    targets: [],
  },
  {
    id: 'mixed',
    title: 'Mixed requests',
    note: `70 % of the requests are fresh charges, 20 % are replays of ${KNOWN_KEYS} keys, and 10 % are orders without a key, because \`order_id\` is their
natural key. They are sent at a fixed rate, and nothing waits for an answer. A latency counts from the moment at which its request was due, so that a pause of
the server counts for each request that was due during the pause. Without idempotency, a replay is one more charge.`,
    operation: 'mixed',
    connections: 64,
    keys: 'known',
    ratePerSecond: MIXED_RATE_PER_SECOND,
    contenders: ['service', 'without'],
    targets: [],
  },
];

/** Scenarios of several processes. They run after the others, because their idle processes would poll for messages during the others. */
export const REPLICA_SCENARIOS: readonly Scenario[] = [
  {
    id: 'processes',
    title: 'Fresh charges on one, two and four processes',
    note: `The processes share one PostgreSQL and one database, and each gets an equal part of the connections. The ${availableParallelism()} cores of this machine are
shared by these processes, PostgreSQL and the load generator. If one process keeps all cores busy together with PostgreSQL, more processes cannot make more charges:
they divide the same cores and form smaller groups, so a charge costs more. The figures show this cost. They do not show how the service scales on more cores.`,
    operation: 'charge',
    connections: 64,
    keys: 'fresh',
    contenders: ['service', 'twoProcesses', 'fourProcesses'],
    targets: [],
  },
];

/** The title of a scenario, with its number of connections or its rate. */
export const titleOf = ({ title, connections, ratePerSecond }: Scenario) =>
  ratePerSecond === undefined
    ? `${title}, ${connections} connection${connections === 1 ? '' : 's'}`
    : `${title}, ${ratePerSecond} requests/s`;

/** Fewer than the pool of any contender has, so that no request waits too long for a database connection on a busy machine. */
const QUICK_CONNECTIONS = 8;

/** A scenario of a quick run. */
export const quickScenario = (scenario: Scenario): Scenario => ({
  ...scenario,
  connections: Math.min(scenario.connections, QUICK_CONNECTIONS),
});
