/** The invariants by name. A violation is reported with the name. */
export const INVARIANTS = {
  'one effect': 'a key or an order_id has at most one effect, and every effect belongs to a request of a client',
  'nothing lost': 'every acknowledged effect exists with the acknowledged content',
  'one gateway key': 'the bank receives one idempotency key for each charge and for each refund',
  'same reply': 'all acknowledged replies of a key are equal to the recorded reply, byte by byte',
  'final is final': 'a completed record is replayed, and is neither changed nor deleted before it expires',
  'a failure has no effect': 'an operation has no effect if all its attempts failed',
  'record and effect agree':
    'an effect with a key has a record, which is completed exactly if the effect is settled as the bank decided',
  'the books agree': 'balances, charges and captures have the same sums, less their refunds',
  'refunds within charges': 'the refunds of a charge never exceed the charge, in the database and at the bank',
  'nothing unfinished': 'after the faults, nothing stays in progress and every operation is answered',
  'messages once': 'every message takes effect once',
  'accounts do not cross': 'no account sees, blocks or changes data of another account',
  'as documented': 'every answer follows the HTTP contract, also during faults',
} as const;

export type Invariant = keyof typeof INVARIANTS;

export interface Violation {
  invariant: Invariant;
  /** The operation, charge or message, and what was observed. */
  about: string;
}

export interface Verdict {
  /** `unknown` if there is no violation, but a read failed, the run did not end or a fault never landed. */
  verdict: 'valid' | 'invalid' | 'unknown';
  violations: Violation[];
  /** The reasons for `unknown`. */
  doubts: string[];
  counts: { keys: number; attempts: number; ok: number; fail: number; info: number };
}

/** Adds a violation to the verdict. */
export type Report = (invariant: Invariant, about: string) => void;
