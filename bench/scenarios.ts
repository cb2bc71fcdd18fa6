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
}

/** One kind of load, and the contenders that are measured under it. */
export interface Scenario {
  /** Part of the keys of requests, so it is short. */
  id: string;
  /** The title without the number of connections; see {@link titleOf}. */
  title: string;
  operation: Operation;
  connections: number;
  keys: 'fresh' | 'known' | 'one';
  /** The number of requests that ends a measurement. If it is not given, the seconds of the run end it. */
  requests?: { usual: number; quick: number };
  contenders: readonly ContenderId[];
  /** A contender that the chart leaves out, because it is so much faster that differences between the others would not be visible. */
  offTheChart?: ContenderId;
  targets: readonly Target[];
}

/** The number of keys that are recorded before replays are measured. Recording them takes a moment only. */
export const KNOWN_KEYS = 200;
/** The largest number of database connections that all duplicates of one key may use together. */
export const STORM_CONNECTIONS_TARGET = 1;

/** All scenarios. To add one, add an entry. */
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

/** The title of a scenario, with its number of connections. */
export const titleOf = ({ title, connections }: Scenario) =>
  `${title}, ${connections} connection${connections === 1 ? '' : 's'}`;

/** Fewer than the pool of any contender has, so that no request waits too long for a database connection on a busy machine. */
const QUICK_CONNECTIONS = 8;

/** The scenarios of a quick run. */
export const quickScenarios = (): Scenario[] =>
  SCENARIOS.map((scenario) => ({ ...scenario, connections: Math.min(scenario.connections, QUICK_CONNECTIONS) }));
