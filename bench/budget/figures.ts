import type { ProbeReading } from './probe.js';
import type { WalRecords } from './wal.js';

/** The cost of a run of requests. */
export interface Reading {
  requests: number;
  nodeUs: number;
  postgresUs: number;
  probe: ProbeReading;
  wal: readonly WalRecords[];
  fsyncs: number;
}

const records = ({ wal }: Reading, ...types: string[]) =>
  wal.reduce((sum, one) => (types.includes(one.type) ? sum + one.records : sum), 0);
const total = ({ wal }: Reading, pick: (one: WalRecords) => number) => wal.reduce((sum, one) => sum + pick(one), 0);
const INDEX_ENTRIES = ['INSERT_LEAF', 'INSERT_POST', 'SPLIT_L', 'SPLIT_R'].map((type) => `Btree ${type}`);

/** All figures of a run, by their names in the tables. The tables show each figure divided by the number of requests. */
export const FIGURES = {
  'CPU in Node, µs': ({ nodeUs }: Reading) => nodeUs,
  'CPU in PostgreSQL, µs': ({ postgresUs }: Reading) => postgresUs,
  'CPU in both, µs': ({ nodeUs, postgresUs }: Reading) => nodeUs + postgresUs,
  'allocated in Node, bytes': ({ probe }: Reading) => probe.allocatedBytes,
  statements: ({ probe }: Reading) => probe.statements,
  'round trips': ({ probe }: Reading) => probe.roundTrips,
  transactions: ({ probe }: Reading) => probe.transactions,
  fsyncs: ({ fsyncs }: Reading) => fsyncs,
  'rows inserted': (reading: Reading) => records(reading, 'Heap INSERT'),
  'rows updated with index entries': (reading: Reading) => records(reading, 'Heap UPDATE'),
  'rows updated in place (HOT)': (reading: Reading) => records(reading, 'Heap HOT_UPDATE'),
  'rows deleted': (reading: Reading) => records(reading, 'Heap DELETE'),
  'dead rows left': (reading: Reading) => records(reading, 'Heap UPDATE', 'Heap HOT_UPDATE', 'Heap DELETE'),
  'heap records': (reading: Reading) => total(reading, (one) => (/^Heap2? /.test(one.type) ? one.records : 0)),
  'index entries': (reading: Reading) => records(reading, ...INDEX_ENTRIES),
  'WAL records': (reading: Reading) => total(reading, (one) => one.records),
  'WAL bytes without page images': (reading: Reading) => total(reading, (one) => one.bytes - one.pageImageBytes),
  'page images in the WAL': (reading: Reading) => total(reading, (one) => one.pageImages),
  'bytes of page images': (reading: Reading) => total(reading, (one) => one.pageImageBytes),
  'bytes from clients': ({ probe }: Reading) => probe.traffic.client.read,
  'bytes to clients': ({ probe }: Reading) => probe.traffic.client.written,
  'bytes to PostgreSQL': ({ probe }: Reading) => probe.traffic.postgres.written,
  'bytes from PostgreSQL': ({ probe }: Reading) => probe.traffic.postgres.read,
  'bytes to and from the bank': ({ probe }: Reading) => probe.traffic.bank.written + probe.traffic.bank.read,
} satisfies Record<string, (reading: Reading) => number>;

export type FigureName = keyof typeof FIGURES;
export const FIGURE_NAMES = Object.keys(FIGURES) as FigureName[];

/** The operations that are measured, with their names in the tables. */
export const OPERATIONS = {
  charge: 'charge',
  loneCharge: 'lone charge',
  chargeAtBank: 'charge, bank apart',
  loneChargeAtBank: 'lone charge, bank apart',
  message: 'message',
  sweep: 'sweep',
  replay: 'replay',
  order: 'order',
} as const;

export type Operation = keyof typeof OPERATIONS;
export const OPERATION_IDS = Object.keys(OPERATIONS) as Operation[];

/** The readings of each operation, round by round. */
export type Readings = Record<Operation, Reading[]>;

/** The figures of one request in each round. */
export interface Column {
  name: string;
  rounds: Record<FigureName, number[]>;
}

/** The columns of the two tables. A sum adds the message and the sweep of a charge to the charge. */
export interface Columns {
  charges: Column[];
  others: Column[];
}

export function columnsOf(readings: Readings): Columns {
  const column = (...operations: Operation[]): Column => ({
    name: operations.map((operation) => OPERATIONS[operation]).join(' + '),
    rounds: Object.fromEntries(
      FIGURE_NAMES.map((name) => [name, sums(readings, operations, name)]),
    ) as Column['rounds'],
  });
  return {
    charges: [column('charge'), column('loneCharge'), column('chargeAtBank'), column('loneChargeAtBank')],
    others: [
      column('message'),
      column('sweep'),
      column('chargeAtBank', 'message'),
      column('chargeAtBank', 'message', 'sweep'),
      column('replay'),
      column('order'),
    ],
  };
}

/** The sum of one request of each operation, round by round. */
function sums(readings: Readings, operations: readonly Operation[], name: FigureName): number[] {
  const perRequest = operations.map((operation) =>
    readings[operation].map((reading) => FIGURES[name](reading) / reading.requests),
  );
  return (perRequest[0] ?? []).map((_, round) => perRequest.reduce((sum, one) => sum + (one[round] ?? NaN), 0));
}
