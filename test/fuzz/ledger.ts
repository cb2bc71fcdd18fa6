import type { Json } from './requests.js';

/** A recorded reply. `etag` is undefined where there is none. */
interface Reply {
  status: number;
  text: string;
  type: string | undefined;
  etag: string | undefined;
}

/** What is on record of a key. */
export interface Recorded {
  /** What makes another request the same: method, path and content. */
  identity: string;
  operation: string;
  body: Record<string, Json> | undefined;
  /** Undefined while the request is unfinished. */
  reply: Reply | 'unseen' | undefined;
}

export interface Order {
  amount: number;
  currency: string;
  customer_id: Json;
  items: Json;
  created_at: string;
}

export interface Charge {
  status: 'succeeded' | 'failed';
  amount: number;
  currency: string;
  order_id: string | null;
}

/** What an account knows of itself, as the contract has it: plain maps, that can be copied. */
export interface Ledger {
  keys: Map<string, Recorded>;
  /** Completed keys that are too old, and that neither a request nor the sweep has removed. */
  expired: Set<string>;
  stock: Map<string, number>;
  orders: Map<string, Order>;
  /** `content` is undefined once a customer is deleted; its version has gone on, nobody knows how far. */
  customers: Map<string, { version: number; content: Record<string, Json> | undefined }>;
  /** By id. */
  charges: Map<string, Charge>;
  /** Charges that recovery has finished, and whose ids nobody has seen. */
  unseenCharges: number;
  /** Captured, and not told to the consumers yet. */
  untold: Omit<Charge, 'status'>[];
  /** By currency, of what was told. */
  balances: Map<string, number>;
  /** By order and currency, of what was told. */
  paid: Map<string, number>;
}

export const emptyLedger = (): Ledger => ({
  keys: new Map(),
  expired: new Set(),
  stock: new Map(),
  orders: new Map(),
  customers: new Map(),
  charges: new Map(),
  unseenCharges: 0,
  untold: [],
  balances: new Map(),
  paid: new Map(),
});

/** The same, to be changed by itself. */
export const copyOf = (ledger: Ledger): Ledger => ({
  keys: new Map([...ledger.keys].map(([key, recorded]) => [key, { ...recorded }])),
  expired: new Set(ledger.expired),
  stock: new Map(ledger.stock),
  orders: new Map(ledger.orders),
  customers: new Map(ledger.customers),
  charges: new Map(ledger.charges),
  unseenCharges: ledger.unseenCharges,
  untold: [...ledger.untold],
  balances: new Map(ledger.balances),
  paid: new Map(ledger.paid),
});

/** What the consumers do with what they are told. */
export function tell(ledger: Ledger): void {
  for (const { amount, currency, order_id } of ledger.untold.splice(0)) {
    add(ledger.balances, currency, amount);
    if (order_id !== null) add(ledger.paid, `${order_id} ${currency}`, amount);
  }
}

const add = (sums: Map<string, number>, name: string, amount: number) => sums.set(name, (sums.get(name) ?? 0) + amount);

/** Whether charges that name the order, and were told, cover it. */
export const isPaid = ({ paid }: Ledger, id: string, { amount, currency }: Pick<Order, 'amount' | 'currency'>) =>
  (paid.get(`${id} ${currency}`) ?? 0) >= amount;
