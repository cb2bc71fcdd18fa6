import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Program } from '../../harness/processes.js';
import type { ObservedDatabase } from './database-state.js';
import { readJournal } from './evidence.js';
import { KEY_LIFE_MS } from './timing.js';

/** The code of a charge or a refund that a person has resolved. The bank has decided nothing for it. */
export const RESOLVED_AS_FAILED = 'resolved_as_failed';
const LOOK_INTERVAL_MS = 1_000;

export interface PersonSettings {
  database: ObservedDatabase;
  /** The directory of the journal. */
  directory: string;
  /** The build folder of the service. */
  build: string;
  /** The settings of the service. */
  environment: Record<string, string>;
}

/**
 * A person who decides the charges and refunds that the service must not ask the bank about any more. The person reads the journal of the
 * bank, and settles what the bank does not know with `npm run charges:resolve`.
 */
export class Person {
  private readonly working: Promise<void>;
  private isOver = false;

  constructor(private readonly settings: PersonSettings) {
    this.working = this.work();
  }

  /** Ends the work after what is being decided. */
  async end(): Promise<void> {
    this.isOver = true;
    await this.working;
  }

  private async work(): Promise<void> {
    while (!this.isOver) {
      // A database that a fault has stopped is asked again.
      for (const id of await this.undecided().catch(() => [])) await this.resolve(id);
      await pause(LOOK_INTERVAL_MS);
    }
  }

  /** The charges and refunds that are older than a key of the bank lives, and that the bank does not know. */
  private async undecided(): Promise<string[]> {
    const { database, directory } = this.settings;
    const old = await database.query(UNDECIDED, [KEY_LIFE_MS]);
    const known = new Set(readJournal(directory).map(({ charge, refund = charge }) => refund));
    return old.map(({ id }) => String(id)).filter((id) => !known.has(id));
  }

  /** Runs the command once. If it fails, the next look finds the same id again. */
  private async resolve(id: string): Promise<void> {
    const { build, environment } = this.settings;
    const path = join(build, 'src/resolve-charges.js');
    await Program.start(path, { args: ['--id', id, '--as', 'failed'], env: environment }).ended;
  }
}

const UNDECIDED = `
  SELECT id FROM (SELECT id, status, created_at FROM charges UNION ALL SELECT id, status, created_at FROM refunds) AS moved
  WHERE status = 'pending' AND created_at <= clock_timestamp() - make_interval(secs => $1::float8 / 1000)`;
