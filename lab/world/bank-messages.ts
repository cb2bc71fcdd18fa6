import type { ReplicaName } from './events.js';

/** A message to the bank: how it behaves from now on. */
export interface BankOrder {
  /** The bank captures and keeps its answers until an order that says otherwise. */
  isHolding: boolean;
  /** Number of answers that the bank loses, after it has captured. */
  answersToLose: number;
}

/** A message from the bank. */
export type BankReport =
  | { kind: 'listening'; port: number }
  /** `key` is missing if the request had none. */
  | { kind: 'received'; replica: ReplicaName; key?: string }
  /** `isFirst` is false for a repetition, which takes no money. */
  | { kind: 'captured'; replica: ReplicaName; key: string; isFirst: boolean }
  | { kind: 'answered'; replica: ReplicaName; key: string; isFirst: boolean; isLost: boolean };
