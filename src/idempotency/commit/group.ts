import type { DataSource } from 'typeorm';
import type { Claim } from '../store/claim.js';
import type { Attempt, IdempotencyStore } from '../store/idempotency.store.js';
import { type AnyPhase, oneForEach } from '../request/phase.js';
import { record, type Reply } from '../request/reply.js';
import { inTransaction, type SqlClient, type Transaction } from '../../postgres/transaction.js';

/** What one request wants committed: a phase, with its key where that has still to be taken, and the reply at the end. */
export interface Unit extends Attempt {
  readonly phase: AnyPhase<never, unknown>;
  readonly input: unknown;
  /** The name of the request, once it has one. */
  readonly requestId?: string;
  /** Whether there is nothing to claim: the key is held already, or there is none. */
  readonly holds: boolean;
  /** Whether the phase returns the reply. */
  readonly completes: boolean;
  /** Whether the answer to a COMMIT of this request was lost: it waits, alone, for that commit to end. */
  readonly inDoubt: boolean;
  /** Told when the key is granted, which is before the commit. */
  granted?(): void;
}

type Granted = Extract<Claim, { kind: 'claimed' }>;

/**
 * What became of a unit. `result` is what its phase returned; of one that completes, the recorded reply, which lives
 * until `expiresAt` at least, in milliseconds of `performance.now()`.
 */
export type Outcome =
  { kind: 'committed'; requestId: string; result: unknown; expiresAt?: number } | Exclude<Claim, Granted>;

/** A unit on its way through the transaction. */
interface Share {
  readonly unit: Unit;
  readonly claim: Claim;
  result?: unknown;
  expiresAt?: number;
}
type Holder = Share & { readonly claim: Granted };

const isHolder = (share: Share): share is Holder => share.claim.kind === 'claimed';

/**
 * Commits a group: one claim, each phase once, one completion, for however many requests there are. What is thrown
 * concerns the whole group, none of which is committed then.
 *
 * @param units in the order of their keys, none of which is there twice
 * @returns the outcome of each unit, in order
 * @throws CommitUnknown, FencedOff, KeyLocked, and what a phase throws
 */
export async function commitTogether(
  dataSource: DataSource,
  store: IdempotencyStore,
  units: readonly Unit[],
): Promise<Outcome[]> {
  const { shares } = await inTransaction(
    dataSource,
    async (tx: Transaction, claims: Map<Unit, Claim>) => {
      const shares = grant(units, claims);
      return { shares, sent: await runPhases(tx, shares.filter(isHolder)) };
    },
    {
      open: (sql) => claimKeys(sql, store, units),
      close: ({ sql }, { shares, sent }) => [...sent, recordReplies(sql, store, shares.filter(isHolder))],
      // Company is no good place to lose a race twice: each is run alone then.
      attempts: units.length === 1 ? undefined : 1,
    },
  );
  return shares.map(outcomeOf);
}

/** Claims the keys that are not held yet. It is sent behind BEGIN, since the claim does nothing outside of its transaction. */
async function claimKeys(sql: SqlClient, store: IdempotencyStore, units: readonly Unit[]): Promise<Map<Unit, Claim>> {
  const takers = units.filter(({ holds }) => !holds);
  if (takers.length === 0) return new Map();
  const wait = takers.some(({ inDoubt }) => inDoubt);
  const claims = await store.claim(sql, takers, wait);
  return new Map(takers.flatMap((unit, i) => (claims[i] ? [[unit, claims[i]]] : [])));
}

function grant(units: readonly Unit[], claims: ReadonlyMap<Unit, Claim>): Share[] {
  return units.map((unit) => {
    const { holds, requestId, newRequestId } = unit;
    const held = { kind: 'claimed' as const, requestId: requestId ?? newRequestId };
    const claim = holds ? held : claims.get(unit);
    if (!claim) throw new Error('The database answered a claim with nothing');
    if (claim.kind === 'claimed') {
      if (requestId && claim.requestId !== requestId) {
        throw new Error('The key expired while its request was being processed, and stands for a new one');
      }
      unit.granted?.();
    }
    return { unit, claim };
  });
}

/**
 * Runs each phase once, with all its items, up to what the replies need. The rest is only sent.
 *
 * @returns the phases that are still to be answered
 */
async function runPhases(tx: Transaction, holders: Holder[]): Promise<Promise<void>[]> {
  const sent: Promise<void>[] = [];
  // In the order of their operations rather than of the keys: two groups of several phases cannot wait for each other.
  for (const phase of new Set(holders.toSorted(byOperation).map(({ unit }) => unit.phase))) {
    const members = holders.filter(({ unit }) => unit.phase === phase);
    const { answered, hasResults } = start(tx, phase, members);
    answered.catch(() => undefined);
    sent.push(answered);
    const isNeeded = members.some(({ unit }) => unit.completes);
    if (typeof phase === 'function' || !tx.sql.pipeline) await answered;
    else if (isNeeded) await hasResults;
  }
  return sent;
}

const byOperation = ({ unit: { identity: a } }: Share, { unit: { identity: b } }: Share) =>
  a.operation === b.operation ? 0 : a.operation < b.operation ? -1 : 1;

function start(tx: Transaction, phase: Unit['phase'], members: Holder[]) {
  const items = members.map(({ unit: { identity, input, completes }, claim: { requestId } }) => ({
    accountId: identity.accountId,
    requestId,
    isRecorded: completes,
    input: input as never,
  }));
  const take = (results: readonly unknown[]) => {
    oneForEach(results, items);
    members.forEach((share, i) => (share.result = results[i]));
  };
  if (typeof phase === 'function') {
    const answered = phase(tx.manager, items).then(take);
    return { answered, hasResults: answered };
  }
  const { name, text } = phase;
  const rows = tx.sql.query({ name, text, values: phase.parameters(items) }).then((answer) => answer.rows);
  rows.catch(() => undefined);
  const hasResults = phase.results(items, rows).then(take);
  return { answered: Promise.all([rows, hasResults]).then(() => undefined), hasResults };
}

async function recordReplies(sql: SqlClient, store: IdempotencyStore, holders: Holder[]): Promise<void> {
  const completing = holders.filter(({ unit }) => unit.completes);
  const completions = completing.map((share) => {
    const { identity, lockToken } = share.unit;
    const reply = record(share.result as Reply);
    share.result = reply;
    return { identity, lockToken, reply };
  });
  if (completions.length === 0) return;
  // The invariant: only the holder of the lock token commits an effect.
  const expiresAt = await store.complete(sql, completions);
  completing.forEach((share) => (share.expiresAt = expiresAt));
}

function outcomeOf({ claim, result, expiresAt }: Share): Outcome {
  return claim.kind === 'claimed' ? { kind: 'committed', requestId: claim.requestId, result, expiresAt } : claim;
}
