import { integer, oneOf, parseOptions, UsageError } from '../../harness/options.js';
import { BROKER_FAULTS } from './broker-faults.js';
import { BUS_KINDS, type BusKind } from './bus.js';
import { FAIL_POINTS } from './fail-points.js';
import type { Replication } from '../../harness/postgres-cluster.js';
import { FAULT_KINDS, type FaultKind, kindsOf, needsCluster } from './faults.js';
import { PLANTED_BUGS } from './planted/bugs.js';

/** The kind of run and its parameters. */
export interface Options {
  readonly mode: 'random' | 'fail points' | 'planted';
  readonly seconds: number;
  readonly seed: number;
  readonly replicas: number;
  /** How the primary of a cluster replicates. Undefined: the database is a single server. */
  readonly replication: Replication | undefined;
  /** The broker that carries messages between the replicas. Undefined: messages stay within the processes. */
  readonly bus: BusKind | undefined;
  readonly faults: readonly FaultKind[];
  /** A further file for the chart of a random run. */
  readonly chart: string | undefined;
  /** The names of the planted bugs or fail points to run; all if empty. */
  readonly only: readonly string[];
}

/** The command line that repeats a random run. */
export function argumentsOf({ seed, seconds, replicas, replication, bus, faults }: Options): string {
  const cluster = { quorum: ' --cluster', asynchronous: ' --cluster --async' };
  const kinds = faults.length < kindsOf(replication, bus).length ? ` --faults '${faults.join()}'` : '';
  return `--seed ${seed} --seconds ${seconds} --replicas ${replicas}${replication ? cluster[replication] : ''}${bus ? ` --bus ${bus}` : ''}${kinds}`;
}

export const USAGE = `Usage: npm run chaos [-- options]

Runs several processes of the service, injects faults into the processes, the network, the database and the bank at random, and checks
what clients saw, what the database contains and what the bank wrote into its journal. The last line is the verdict: valid, invalid or unknown.

  --seconds N     seconds for which clients send requests while faults are injected (default: 60)
  --seed N        the seed of all random choices (default: a new seed for each run)
  --replicas N    processes of the service, from 2 to 8 (default: 3)
  --cluster       the database is a primary with two standbys: one of them has to confirm each commit, and further faults make one take over
  --async         with --cluster: no standby has to confirm a commit, so the run is expected to be invalid
  --bus NAME      messages go through a broker, which gets further faults: rabbitmq or kafka
  --faults A,B    the kinds of faults to inject (default: all of ${kindsOf().join(', ')};
                  with --cluster also ${FAULT_KINDS.filter(needsCluster).join(', ')}, and not database killed;
                  with --bus also ${Object.keys(BROKER_FAULTS).join(', ')})
  --chart FILE    writes the chart of the run into this file as well
  --fail-points   instead of random faults, kill and freeze a process at every step of the protocol in turn
  --planted       instead of random faults, put known bugs into the service, one by one, and expect that the checker finds each bug
  NAME …          with --fail-points or --planted: only these fail points or bugs

Exit code: 0 if valid, 1 if invalid or unknown, 2 if the run could not start. A run leaves its history, the bank’s journal, logs and a chart in .chaos/.
`;

/** @throws UsageError if the command line cannot be used */
export function readOptions(args: string[]): Options {
  const { values, positionals } = parseOptions({
    args,
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
      replicas: { type: 'string', default: '3' },
      cluster: { type: 'boolean', default: false },
      async: { type: 'boolean', default: false },
      bus: { type: 'string' },
      faults: { type: 'string' },
      chart: { type: 'string' },
      'fail-points': { type: 'boolean', default: false },
      planted: { type: 'boolean', default: false },
    },
  });
  if (values.planted && values['fail-points']) throw new UsageError('--planted, --fail-points: expected one of them');
  if (values.async && !values.cluster) throw new UsageError('--async: expected together with --cluster');
  const replication = values.cluster ? (values.async ? 'asynchronous' : 'quorum') : undefined;
  const bus = values.bus === undefined ? undefined : oneOf('--bus', values.bus, BUS_KINDS);
  const kinds = kindsOf(replication, bus);
  const mode = values.planted ? 'planted' : values['fail-points'] ? 'fail points' : 'random';
  if (mode === 'random' && positionals.length > 0)
    throw new UsageError(`${positionals.join(' ')}: expected options only`);
  if (mode !== 'random' && replication) throw new UsageError('--cluster: expected without --planted or --fail-points');
  if (mode !== 'random' && bus) throw new UsageError('--bus: expected without --planted or --fail-points');
  return {
    mode,
    seconds: integer('--seconds', values.seconds, 1, 86_400),
    seed: integer('--seed', values.seed, 0, 2 ** 32 - 1),
    replicas: integer('--replicas', values.replicas, 2, 8),
    replication,
    bus,
    chart: values.chart,
    // An empty list is refused like an unknown name, because a run without faults proves nothing.
    faults: values.faults?.split(',').map((name) => oneOf('--faults', name, kinds)) ?? kinds,
    only: positionals.map((name) => oneOf('name', name, NAMES[mode])),
  };
}

const NAMES: Record<Options['mode'], readonly string[]> = {
  random: [],
  'fail points': FAIL_POINTS,
  planted: PLANTED_BUGS.map(({ name }) => name),
};
