import type { Rows } from '../world/rows.js';

const FRESH_MS = 2_500;
/** A value that changes all the time by itself. */
const RESTLESS = 'lease_seconds';

/** Remembers when each cell has changed, so that the page can highlight what is new. */
export class Changes {
  private cells = new Map<string, { value: string; at: number }>();

  /** Compares all cells with the rows before. */
  note(rows: Rows, now: number): void {
    const cells = new Map<string, { value: string; at: number }>();
    for (const [table, list] of Object.entries(rows)) {
      for (const row of (list ?? []) as Record<string, unknown>[]) {
        for (const [column, cell] of Object.entries(row)) {
          const [name, value] = [nameOf(table, row, column), JSON.stringify(cell)];
          const before = this.cells.get(name);
          const isSame = before && (before.value === value || column === RESTLESS);
          cells.set(name, isSame ? { value, at: before.at } : { value, at: now });
        }
      }
    }
    this.cells = cells;
  }

  forget(): void {
    this.cells.clear();
  }

  isFresh(table: string, row: Record<string, unknown>, column: string, now: number): boolean {
    const cell = this.cells.get(nameOf(table, row, column));
    return cell !== undefined && now - cell.at < FRESH_MS;
  }
}

/** The first column of each table identifies a row, except at the bank, where a charge may be captured twice. */
const nameOf = (table: string, row: Record<string, unknown>, column: string) =>
  [table, row['idempotency_key'] ?? row['id'], row['charge_id'], column].join(' ');
