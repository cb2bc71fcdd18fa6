import { strict as assert } from 'node:assert';
import type { Cluster } from './cluster.js';
import type { Machine } from './machine.js';

/** A fault of the primary, after which another machine becomes the primary. */
export interface Fault {
  /** The end of a sentence that begins with "if". */
  name: string;
  inject(primary: Machine, cluster: Cluster): Promise<void> | void;
  /** Shows, after the failover, that the fault was the one that the name says. */
  confirm?(old: Machine): Promise<void>;
  /** Brings the old primary back, if it does not come back by itself. */
  repair?(old: Machine, cluster: Cluster): void;
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'PostgreSQL is killed',
    inject: (primary) => primary.killPostgres(),
  },
  {
    name: 'the machine of the primary dies',
    inject: (primary) => primary.kill(),
    repair: (old, { machines }) => old.start(machines),
  },
  {
    name: 'Patroni is frozen while PostgreSQL runs on',
    inject: (primary) => primary.freezePatroni(),
    // There are two primaries now. The old one acknowledges nothing, because no standby follows it.
    confirm: async (old) => assert.ok(await old.isPrimary(), `${old.name} is not a primary any more`),
    repair: (old) => old.wakePatroni(),
  },
  {
    name: 'an operator switches over',
    inject: (_, cluster) => cluster.switchOver(),
  },
];
