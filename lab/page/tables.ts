import { html, nothing, type TemplateResult } from './lit-html.js';
import type { Rows } from '../world/rows.js';
import type { Attempt } from './attempts.js';
import type { Changes } from './changes.js';
import { shortened } from './labels.js';

type Row = Record<string, unknown>;

interface Column {
  name: string;
  title: string;
  show?: (value: unknown, row: Row, leaseSeconds: number) => unknown;
}

const LONGEST_TABLE_ROWS = 6;

const textOf = (value: unknown) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
const reply = (body: unknown) => {
  const [, id] = /"id":\s*"([^"]+)"/.exec(textOf(body)) ?? [];
  return id === undefined ? '' : `{"id":"${shortened(id)}"…`;
};
/** A key with a reply needs no lease. */
const lease = (seconds: unknown, { response_body: body }: Row, leaseSeconds: number) => {
  if (typeof seconds !== 'number' || body) return '';
  return seconds <= 0 ? 'over' : html`<meter max=${leaseSeconds} value=${seconds}></meter> ${seconds.toFixed(1)} s`;
};

const TABLES: { name: keyof Rows; what: string; columns: Column[] }[] = [
  {
    name: 'processed_requests',
    what: 'keys',
    columns: [
      { name: 'idempotency_key', title: 'key' },
      { name: 'lock_token', title: 'lock token' },
      { name: 'lease_seconds', title: 'lease', show: lease },
      { name: 'response_body', title: 'reply', show: reply },
    ],
  },
  {
    name: 'charges',
    what: 'what we believe',
    columns: [
      { name: 'id', title: 'id' },
      { name: 'amount', title: 'amount' },
      { name: 'status', title: 'status' },
    ],
  },
  {
    name: 'bank.captures',
    what: 'what the bank took',
    columns: [
      { name: 'charge_id', title: 'charge' },
      { name: 'amount', title: 'amount' },
      { name: 'idempotency_key', title: "bank's key" },
    ],
  },
  {
    name: 'outbox',
    what: 'messages under way',
    columns: [
      { name: 'type', title: 'type' },
      { name: 'published_at', title: 'published', show: (at) => (at ? 'yes' : 'not yet') },
    ],
  },
];

/** Everything that the tables depend on besides their rows. */
interface Look {
  changes: Changes;
  now: number;
  leaseSeconds: number;
}

/** The rows of the implementation and of the bank. */
export const tables = (rows: Rows | undefined, look: Look): TemplateResult =>
  html`${TABLES.map(({ name, what, columns }) => table(name, what, columns, rows ? rows[name] : [], look))}`;

function table(
  name: string,
  what: string,
  columns: readonly Column[],
  rows: readonly Row[] | undefined,
  { changes, now, leaseSeconds }: Look,
): TemplateResult {
  const caption = html`<h3><code>${name}</code> <span>${what}</span><b>${rows?.length ?? nothing}</b></h3>`;
  if (!rows)
    return html`<section class="table absent">
      ${caption}
      <p>This step has no such table.</p>
    </section>`;
  const existing = columns.filter((column) => rows.length === 0 || rows.some((row) => column.name in row));
  const shown = rows.slice(-LONGEST_TABLE_ROWS);
  const cell = (row: Row, { name: column, show }: Column) => {
    const value = show ? show(row[column], row, leaseSeconds) : shortened(textOf(row[column]));
    return html`<td class=${changes.isFresh(name, row, column, now) ? 'fresh' : ''} title=${textOf(row[column])}>
      ${value}
    </td>`;
  };
  return html`<section class="table" data-table=${name}>
    ${caption}
    ${
      rows.length === 0
        ? html`<p>No row.</p>`
        : html`<table>
            <thead>
              <tr>
                ${existing.map(({ title }) => html`<th scope="col">${title}</th>`)}
              </tr>
            </thead>
            <tbody>
              ${shown.map(
                (row) =>
                  html`<tr>
                    ${existing.map((column) => cell(row, column))}
                  </tr>`,
              )}
            </tbody>
          </table>`
    }
    ${rows.length > shown.length ? html`<p>and ${rows.length - shown.length} more</p>` : nothing}
  </section>`;
}

const MOST_LINES = 10;

/** The attempts of the client with their replies. Attempts in a row that got the same refusal share a line. */
export function attemptTable(attempts: readonly Attempt[]): TemplateResult {
  const lines: { last: Attempt; first: Attempt }[] = [];
  for (const attempt of attempts) {
    const line = lines.at(-1);
    if (line && isSameRefusal(line.last, attempt)) line.last = attempt;
    else lines.push({ first: attempt, last: attempt });
  }
  const shown = lines.slice(-MOST_LINES);
  return html`<section class="table" data-table="attempts">
    <h3><code>attempts</code> <span>what the client sees</span><b>${attempts.length}</b></h3>
    ${
      attempts.length === 0
        ? html`<p>No attempt.</p>`
        : html`<table>
            <thead>
              <tr>
                ${['#', 'key', 'to', 'status', 'reply'].map((title) => html`<th scope="col">${title}</th>`)}
              </tr>
            </thead>
            <tbody>
              ${shown.map(
                ({ first, last }) =>
                  html`<tr>
                    <td>${first.number}${first === last ? '' : `–${last.number}`}</td>
                    <td>${last.key}</td>
                    <td>${last.replica ?? ''}</td>
                    <td class=${(last.status ?? 0) >= 500 || last.isLost ? 'bad' : ''}>${statusOf(last)}</td>
                    <td class=${last.bytes === 'other' ? 'bad' : ''}>${bytesOf(last)}</td>
                  </tr>`,
              )}
            </tbody>
          </table>`
    }
    ${lines.length > shown.length ? html`<p>and ${lines.length - shown.length} before</p>` : nothing}
  </section>`;
}

const isSameRefusal = (one: Attempt, other: Attempt) =>
  one.status !== undefined &&
  one.status !== 200 &&
  one.status === other.status &&
  one.key === other.key &&
  one.replica === other.replica;

const statusOf = ({ status, isLost }: Attempt) => (isLost ? 'lost' : (status ?? '…'));

function bytesOf({ bytes, digest, isReplayed }: Attempt): string {
  const replayed = isReplayed ? ', replayed' : '';
  switch (bytes) {
    case 'first':
      return `${digest}${isReplayed ? ', replayed' : ', first'}`;
    case 'same':
      return `= same bytes${replayed}`;
    case 'other':
      return `≠ ${digest}${replayed}`;
    case undefined:
      return '';
  }
}
