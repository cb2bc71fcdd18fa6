import type { Json } from './requests.js';

/** A recorded reply. `etag` is undefined if the reply has none. */
interface Reply {
  status: number;
  text: string;
  type: string | undefined;
  etag: string | undefined;
}

/** The record of a key. */
export interface Recorded {
  /** Method, path, content and If-Match, which must be equal in a repeat. */
  identity: string;
  operation: string;
  body: Record<string, Json> | undefined;
  /** Undefined while the request is unfinished; `unseen` if recovery has finished it. */
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

/** A refund whose first answer was lost, or a refund that recovery has finished. */
export interface OpenRefund {
  chargeId: string;
  amount: number;
  currency: string;
}

/** The model of one account, in plain maps that can be copied. */
export interface Ledger {
  keys: Map<string, Recorded>;
  /** Completed keys past their retention that neither a request nor the sweep has removed. */
  expired: Set<string>;
  stock: Map<string, number>;
  orders: Map<string, Order>;
  /** `content` is undefined once a customer is deleted; the real version is then larger than `version`. */
  customers: Map<string, { version: number; content: Record<string, Json> | undefined }>;
  /** Charges by id. */
  charges: Map<string, Charge>;
  /** Number of charges that recovery has finished and whose ids no answer has shown yet. */
  unseenCharges: number;
  /** The charges for which the bank loses the first answer to each refund. */
  lossy: Set<string>;
  /** The sums of the refunds of each charge. */
  sums: Map<string, { succeeded: number; pending: number }>;
  /** Refunds by id. */
  refunds: Map<string, { charge_id: string; amount: number; currency: string }>;
  /** Unfinished refunds by idempotency key. */
  openRefunds: Map<string, OpenRefund>;
  /** Refunds that recovery has finished and whose ids no answer has shown yet, by idempotency key. */
  recoveredRefunds: Map<string, OpenRefund>;
  /** Captured charges, and refunds with a negative amount, whose messages have not been delivered yet. */
  undelivered: Omit<Charge, 'status'>[];
  /** Balance by currency, of the delivered messages. */
  balances: Map<string, number>;
  /** Paid amount by order and currency, of the delivered messages. */
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
  lossy: new Set(),
  sums: new Map(),
  refunds: new Map(),
  openRefunds: new Map(),
  recoveredRefunds: new Map(),
  undelivered: [],
  balances: new Map(),
  paid: new Map(),
});

/** A copy that can be changed without changing the original. */
export const copyOf = (ledger: Ledger): Ledger => ({
  keys: new Map([...ledger.keys].map(([key, recorded]) => [key, { ...recorded }])),
  expired: new Set(ledger.expired),
  stock: new Map(ledger.stock),
  orders: new Map(ledger.orders),
  customers: new Map(ledger.customers),
  charges: new Map(ledger.charges),
  unseenCharges: ledger.unseenCharges,
  lossy: new Set(ledger.lossy),
  sums: new Map(ledger.sums),
  refunds: new Map(ledger.refunds),
  openRefunds: new Map(ledger.openRefunds),
  recoveredRefunds: new Map(ledger.recoveredRefunds),
  undelivered: [...ledger.undelivered],
  balances: new Map(ledger.balances),
  paid: new Map(ledger.paid),
});

/** Applies the undelivered messages to balances and paid amounts, as the consumers do. */
export function deliverMessages(ledger: Ledger): void {
  for (const { amount, currency, order_id } of ledger.undelivered.splice(0)) {
    add(ledger.balances, currency, amount);
    if (order_id !== null) add(ledger.paid, `${order_id} ${currency}`, amount);
  }
}

const add = (sums: Map<string, number>, name: string, amount: number) => sums.set(name, (sums.get(name) ?? 0) + amount);

/** True if the delivered charges that name the order cover its amount. */
export const isPaid = ({ paid }: Ledger, id: string, { amount, currency }: Pick<Order, 'amount' | 'currency'>) =>
  (paid.get(`${id} ${currency}`) ?? 0) >= amount;
