import { strict as assert } from 'node:assert';
import type { RunSql } from '../../harness/effects.js';
import { until } from '../support/waiting.js';
import { type Kind, KINDS, keyOf, clientsOf, type Result } from './jobs.js';
import type { Client } from './clients.js';
import { type Loss, LOSSES } from './losses.js';
import type { LossyLine } from './lossy-line.js';

/** A charge in the database, and the number of its captures at the bank. */
type Charge = {
  key: string;
  id: string;
  status: string;
  captures: number;
};

/** A timer may fire this much early. */
const TIMER_MS = 20;

/** The ends of all jobs: the results of the clients, the charges in the database, and the attempts that the line saw. */
export class Verdicts {
  private constructor(
    private readonly results: ReadonlyMap<string, Result>,
    private readonly charges: readonly Charge[],
    private readonly line: LossyLine,
  ) {}

  /** Waits until every charge is finished, also the charges whose clients have given up. */
  static async of(results: readonly Result[], line: LossyLine, sql: RunSql): Promise<Verdicts> {
    const byKey = new Map(results.map((result) => [result.key, result]));
    let charges: Charge[] = [];
    await until(async () => {
      charges = await sql<Charge>(CHARGES);
      return (
        new Set(charges.map(({ key }) => key)).size >= byKey.size && charges.every(({ status }) => status !== 'pending')
      );
    });
    return new Verdicts(byKey, charges, line);
  }

  /**
   * @returns `yes` if the client ended with the charge as its reply. Otherwise `no`, with the status of the last answer, if the client got one
   * @throws AssertionError if the job has not made exactly one charge and one capture
   */
  of(kind: Kind, client: Client, loss: Loss): string {
    const key = keyOf(kind, client, loss);
    const charges = this.charges.filter((charge) => charge.key === key);
    assert.deepEqual(
      charges.map(({ status, captures }) => [status, captures]),
      [['succeeded', 1]],
      `${key}: expected one charge and one capture`,
    );
    const { reply } = this.results.get(key) ?? {};
    if (reply?.object === 'charge' && reply.id === charges[0]?.id) return 'yes';
    const status = this.line.attempts(key).at(-1)?.status;
    return status === undefined || status === 200 ? 'no' : `no, ${status}`;
  }

  /** Makes sure that a client, used as docs/clients.md shows it, got the right answer and waited as long as the service had asked for. */
  expectRight(client: Client, loss: Loss): void {
    const key = keyOf('documented', client, loss);
    const verdict = this.of('documented', client, loss);
    assert.equal(verdict, 'yes', `${key}: ${JSON.stringify(this.results.get(key))}`);
    this.line.attempts(key).forEach(({ answeredAtMs, retryAfterSeconds }, i, attempts) => {
      const next = attempts[i + 1];
      if (!next || answeredAtMs === undefined) return;
      const pausedMs = next.arrivedAtMs - answeredAtMs;
      const isLongEnough = pausedMs + TIMER_MS >= 1000 * (retryAfterSeconds ?? 0);
      assert.ok(isLongEnough, `${key}: retried ${pausedMs} ms after Retry-After: ${retryAfterSeconds}`);
    });
  }

  /** The number of attempts of a client. */
  attempts(kind: Kind, client: Client): number {
    return LOSSES.reduce((sum, loss) => sum + this.line.attempts(keyOf(kind, client, loss)).length, 0);
  }

  /** The tables of docs/clients.md, in Markdown, by kind. */
  tables(): Record<Kind, string> {
    const tables = KINDS.map((kind) => {
      const head = ['client', ...LOSSES.map(({ title }) => title)];
      const rows = clientsOf(kind).map((client) => [
        client.title,
        ...LOSSES.map((loss) => this.of(kind, client, loss)),
      ]);
      return [kind, tableOf([head, ...rows])];
    });
    return Object.fromEntries(tables) as Record<Kind, string>;
  }
}

/** Columns have the width of their longest cell, as Prettier formats them. */
function tableOf(rows: readonly string[][]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}

const CHARGES = `
  SELECT description AS key, id, status,
         (SELECT count(*)::int FROM bank.captures WHERE charge_id = charges.id) AS captures
  FROM charges`;
