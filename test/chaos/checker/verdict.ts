/** What must hold, by the name that a violation bears. */
export const INVARIANTS = {
  'one effect': 'a key, or an order_id, has at most one effect, and there is none that nobody has asked for',
  'nothing lost': 'what was acknowledged is there, as it was acknowledged',
  'one gateway key': 'the bank is asked for a charge with one key',
  'same reply': 'every acknowledged reply of a key is the same, byte by byte, and is the recorded one',
  'final is final': 'a completed record is neither changed nor deleted before it expires, and is replayed from then on',
  'a failure has no effect': 'an operation whose every attempt has failed has no effect',
  'record and effect agree':
    'an effect under a key has a record, completed if, and only if, it is settled, as the bank decided',
  'the books agree': 'balance, charges and captures come to the same',
  'nothing unfinished': 'once healed, nothing is left under way, and everything is answered',
  'messages once': 'every message takes effect once',
  'accounts do not cross': 'no account sees, blocks or changes what is another’s',
  'as documented': 'an operation is answered as the contract says, whatever happens meanwhile',
} as const;

export type Invariant = keyof typeof INVARIANTS;

export interface Violation {
  invariant: Invariant;
  /** Whose, and what was seen. */
  about: string;
}

export interface Verdict {
  /** `unknown` where it could not be found out: a read that failed, or a fault that never landed. */
  verdict: 'valid' | 'invalid' | 'unknown';
  violations: Violation[];
  /** Why it is unknown. */
  doubts: string[];
  counts: { keys: number; attempts: number; ok: number; fail: number; info: number };
}

/** Takes a violation down. */
export type Report = (invariant: Invariant, about: string) => void;
