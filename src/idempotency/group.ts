import { isLockTimeout } from './database-errors.js';
import type { Attempt, Claim, IdempotencyStore } from './idempotency.store.js';
import { type Phase, runPhase } from './phase.js';
import { record, type RecordedReply, type Reply } from './reply.js';
import type { Transaction } from './transaction.js';

/** What one request wants committed: a phase, with its key where that has still to be taken, and the reply at the end. */
export interface Unit extends Attempt {
  readonly phase: Phase<never, unknown>;
  readonly input: unknown;
  /** The name of the request, once it has one. */
  readonly requestId?: string;
  /** Whether the key is held already, rather than to be taken. */
  readonly holds: boolean;
  /** Whether the phase returns the reply. */
  readonly completes: boolean;
  /** Whether the answer to a COMMIT of this request was lost: it waits, alone, for that commit to end. */
  readonly inDoubt: boolean;
  /** Told when the key is granted, which is before the commit. */
  granted?(): void;
}

type Granted = Extract<Claim, { kind: 'claimed' }>;

/** What became of a unit. `result` is what its phase returned; of one that completes, the recorded reply. */
export type Outcome = { kind: 'committed'; requestId: string; result: unknown } | Exclude<Claim, Granted>;

/** Another holder has taken over: nothing of this attempt may be committed. */
export class FencedOff extends Error {}

/** The key is locked by a transaction that has not ended within `lock_timeout`. */
export class KeyLocked extends Error {}

/** A unit on its way through the transaction. */
interface Share {
  readonly unit: Unit;
  claim?: Claim;
  result?: unknown;
}
type Holder = Share & { claim: Granted };

/**
 * What is done in the transaction of a group: one claim, each phase once, one completion, for however many requests
 * there are. The caller commits. What is thrown concerns the whole group.
 *
 * @param units in the order of their keys, none of which is there twice
 * @returns the outcome of each unit, in order
 * @throws FencedOff, KeyLocked
 */
export async function workTogether(
  tx: Transaction,
  store: IdempotencyStore,
  units: readonly Unit[],
): Promise<Outcome[]> {
  const shares = units.map((unit): Share => ({ unit }));
  await takeKeys(tx, store, shares);
  const holders = shares.filter((share): share is Holder => share.claim?.kind === 'claimed');
  await runPhases(tx, holders);
  await recordReplies(tx, store, holders);
  return shares.map(outcomeOf);
}

async function takeKeys(tx: Transaction, store: IdempotencyStore, shares: Share[]): Promise<void> {
  for (const share of shares) {
    const { holds, requestId } = share.unit;
    if (holds && requestId) share.claim = { kind: 'claimed', requestId };
  }
  const takers = shares.filter(({ claim }) => !claim);
  if (takers.length === 0) return;
  const attempts = takers.map(({ unit }) => unit);
  const inDoubt = attempts.some((unit) => unit.inDoubt);
  const claims = await store.claim(tx.sql, attempts, inDoubt).catch((error: unknown) => {
    throw isLockTimeout(error) ? new KeyLocked() : error;
  });
  takers.forEach((share, i) => {
    const { unit } = share;
    share.claim = claims[i];
    if (share.claim?.kind !== 'claimed') return;
    if (unit.requestId && share.claim.requestId !== unit.requestId) {
      throw new Error('The key expired while its request was being processed, and stands for a new one');
    }
    unit.granted?.();
  });
}

/** Calls each phase once, with all its items. */
async function runPhases(tx: Transaction, holders: Holder[]): Promise<void> {
  for (const phase of new Set(holders.map(({ unit }) => unit.phase))) {
    const members = holders.filter(({ unit }) => unit.phase === phase);
    const items = members.map(({ unit: { identity, input }, claim: { requestId } }) => ({
      accountId: identity.accountId,
      requestId,
      input: input as never,
    }));
    const results = await runPhase(phase, tx.manager, items);
    members.forEach((share, i) => (share.result = results[i]));
  }
}

async function recordReplies(tx: Transaction, store: IdempotencyStore, holders: Holder[]): Promise<void> {
  const completing = holders.filter(({ unit }) => unit.completes);
  if (completing.length === 0) return;
  const completions = completing.map((share) => {
    const reply: RecordedReply = record(share.result as Reply);
    share.result = reply;
    return { identity: share.unit.identity, lockToken: share.unit.lockToken, reply };
  });
  // The invariant: only the holder of the lock token commits an effect.
  if (!(await store.complete(tx.sql, completions))) throw new FencedOff();
}

function outcomeOf({ claim, result }: Share): Outcome {
  if (!claim) throw new Error('The database answered a claim with nothing');
  return claim.kind === 'claimed' ? { kind: 'committed', requestId: claim.requestId, result } : claim;
}
