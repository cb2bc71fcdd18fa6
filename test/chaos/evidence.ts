import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HistoryEvent } from './history.js';

/** Times are milliseconds since 1970, by the clock of the database. */
export interface ChargeRow {
  account_id: string;
  id: string;
  amount: number;
  currency: string;
  description: string | null;
  order_id: string | null;
  status: 'pending' | 'succeeded' | 'failed';
  decline_code: string | null;
  created_at: number;
}

export interface RefundRow {
  account_id: string;
  id: string;
  charge_id: string;
  amount: number;
  currency: string;
  reason: string | null;
  status: 'pending' | 'succeeded' | 'failed';
}

export interface RequestRow {
  account_id: string;
  idempotency_key: string;
  request_id: string;
  operation: string;
  response_status: number | null;
  content_type: string | null;
  response_body: string | null;
  /** Whether it is completed. */
  completed: boolean;
}

export interface OrderRow {
  account_id: string;
  order_id: string;
  status: 'placed' | 'paid';
  amount: number;
  customer_id: string | null;
  items: { item_id: string; quantity: number; unit_amount: number }[];
}

export interface StockRow {
  account_id: string;
  item_id: string;
  stock: number;
}

export interface MessageRow {
  account_id: string;
  id: string;
  published: boolean;
}

/** A message that was deleted before it was published, as a trigger of the database recorded it. */
export interface TakenRow {
  account_id: string;
  id: string;
  /** Whether no relay had released it. Only such a message may be deleted before it is published. */
  was_fresh: boolean;
}

export interface ProcessedRow {
  account_id: string;
  consumer: string;
  message_id: string;
}

export interface SumRow {
  account_id: string;
  /** The currency or the order that the sum belongs to. */
  of: string;
  amount: number;
}

/** A completed record that was changed or deleted before it expired, as a trigger of the database recorded it. */
export interface ChangeRow {
  account_id: string;
  idempotency_key: string;
  change: string;
}

/** All rows of the database at one moment. */
export interface DatabaseState {
  charges: ChargeRow[];
  refunds: RefundRow[];
  requests: RequestRow[];
  orders: OrderRow[];
  stock: StockRow[];
  messages: MessageRow[];
  taken: TakenRow[];
  processed: ProcessedRow[];
  /** The events of Stripe that the service has received. */
  events: ProcessedRow[];
  deadLetters: ProcessedRow[];
  balances: SumRow[];
  payments: SumRow[];
  changes: ChangeRow[];
}

/** A line of the bank's journal: one decision for each key of an account. */
export interface JournalEntry {
  at: number;
  account: string;
  /** The idempotency key that the bank received. */
  key: string;
  charge: string;
  /** The refund of the charge that the bank has decided; undefined if it has decided the charge itself. */
  refund?: string;
  amount: number;
  currency: string;
  decision: 'captured' | 'declined' | 'refunded';
}

/** The id of the event about a capture. A bank that has forgotten a key may capture a charge twice, which are two events. */
export const eventIdOf = ({ charge, at }: JournalEntry) => `evt_${charge.slice(3)}_${at}`;

/** The database and the bank's journal at one moment. */
export interface Snapshot {
  database: DatabaseState;
  journal: JournalEntry[];
}

/** Everything that a verdict depends on. */
export interface Evidence {
  history: readonly HistoryEvent[];
  /** Read when nothing was in flight any more, before the keys were sent again. Undefined if the read failed. */
  healed?: Snapshot;
  /** Read after every key had been sent again. Undefined if the read failed. */
  end?: Snapshot;
  /** Replicas that stopped although no fault had stopped them. */
  crashed: readonly number[];
  /** The kinds of faults that were injected. Each has to land, or the verdict is unknown. */
  faults: readonly string[];
  /** The stock of each item of each account before the first order. */
  initialStock: number;
  /** Whether a broker carries the messages, so that each message stays in the outbox, and in the inbox of each of its consumers. */
  hasBroker: boolean;
  /** Whether the bank also reports its captures by events. */
  isReported: boolean;
}

/** Reads the journal of the bank, which is in the directory of the run. */
export function readJournal(directory: string): JournalEntry[] {
  const lines = readFileSync(join(directory, 'journal.jsonl'), 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as JournalEntry);
}
