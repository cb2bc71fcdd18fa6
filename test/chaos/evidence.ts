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
  created_at: number;
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

export interface ProcessedRow {
  account_id: string;
  consumer: string;
  message_id: string;
}

export interface SumRow {
  account_id: string;
  /** A currency, or an order. */
  of: string;
  amount: number;
}

/** A completed record that was changed or deleted before it expired, as the database itself noted it. */
export interface ChangeRow {
  account_id: string;
  idempotency_key: string;
  change: string;
}

/** Everything in the database at one moment. */
export interface DatabaseState {
  charges: ChargeRow[];
  requests: RequestRow[];
  orders: OrderRow[];
  stock: StockRow[];
  messages: MessageRow[];
  processed: ProcessedRow[];
  deadLetters: ProcessedRow[];
  balances: SumRow[];
  payments: SumRow[];
  changes: ChangeRow[];
}

/** A line of the bank's journal: a decision, made once for each key of an account. */
export interface JournalEntry {
  at: number;
  account: string;
  /** The key that the gateway was given. */
  key: string;
  charge: string;
  amount: number;
  currency: string;
  decision: 'captured' | 'declined';
}

/** What is known at one moment: the database, and the bank. */
export interface Snapshot {
  database: DatabaseState;
  journal: JournalEntry[];
}

/** All that a verdict is made of. */
export interface Evidence {
  history: readonly HistoryEvent[];
  /** When everything had ended, before the keys were sent again. Missing where it could not be read. */
  healed?: Snapshot;
  /** When every key had been sent again. */
  end?: Snapshot;
  /** Replicas that nobody has ended, and that do not run any more. */
  crashed: readonly number[];
  /** The kinds of faults that were to be injected, each of which has to land. */
  faults: readonly string[];
  /** Stock of each item, of each account, before the first order. */
  initialStock: number;
}
