import type { ContenderId } from './contenders/all.js';
import type { Operation } from './measurement.js';

/** Which of a measurement's numbers a target is about. */
export type Quantity = 'requestsPerSecond' | 'p50Ms';

/** A ratio that the service is to reach: its number divided by another's. */
export interface Target {
  quantity: Quantity;
  against: ContenderId;
  atLeast?: number;
  atMost?: number;
}

/** One kind of load, and who is put under it. */
export interface Scenario {
  /** In keys of requests, so short. */
  id: string;
  /** Without the connections; see {@link titleOf}. */
  title: string;
  operation: Operation;
  connections: number;
  keys: 'fresh' | 'known' | 'one';
  /** Ends after so many requests; without it, after the seconds of the run. */
  requests?: { usual: number; quick: number };
  contenders: readonly ContenderId[];
  /** Left out of the chart: so much faster than the others that their differences could not be seen. */
  offTheChart?: ContenderId;
  targets: readonly Target[];
}

/** Keys made before a replay is measured: many enough to be spread, few enough to be made in no time. */
export const KNOWN_KEYS = 200;
/** The most connections that waiters of one key may hold between them. */
export const STORM_CONNECTIONS_TARGET = 1;

/** What is measured. Another scenario is another entry. */
export const SCENARIOS: readonly Scenario[] = [
  {
    id: 'fresh',
    title: 'Fresh charges',
    operation: 'charge',
    connections: 64,
    keys: 'fresh',
    contenders: ['service', 'without', 'textbook', 'straight', 'noOp'],
    offTheChart: 'noOp',
    targets: [
      { quantity: 'requestsPerSecond', against: 'without', atLeast: 2.5 },
      { quantity: 'requestsPerSecond', against: 'textbook', atLeast: 6 },
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
    targets: [{ quantity: 'p50Ms', against: 'without', atMost: 1.25 }],
  },
  {
    id: 'replay',
    title: `Replays of ${KNOWN_KEYS} keys`,
    operation: 'charge',
    connections: 64,
    keys: 'known',
    contenders: ['service', 'textbook', 'noOp'],
    targets: [{ quantity: 'requestsPerSecond', against: 'noOp', atLeast: 0.8 }],
  },
  {
    id: 'storm',
    title: 'A storm of one new key',
    operation: 'charge',
    connections: 64,
    keys: 'one',
    requests: { usual: 10_000, quick: 1_000 },
    contenders: ['service', 'textbook', 'noOp'],
    targets: [{ quantity: 'requestsPerSecond', against: 'noOp', atLeast: 0.5 }],
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
];

/** What a scenario is called, with its connections. */
export const titleOf = ({ title, connections }: Scenario) =>
  `${title}, ${connections} connection${connections === 1 ? '' : 's'}`;

/** Fewer than the connections of any contender to the database, so that on a busy machine no request waits too long for one. */
const QUICK_CONNECTIONS = 8;

/** The scenarios of a quick run. */
export const quickScenarios = (): Scenario[] =>
  SCENARIOS.map((scenario) => ({ ...scenario, connections: Math.min(scenario.connections, QUICK_CONNECTIONS) }));
