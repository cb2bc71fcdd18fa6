import type { DataSource } from 'typeorm';
import type { SqlClient, Transaction } from '../../postgres/transaction.js';
import type { AnyPhase } from '../request/phase.js';
import type { RecordedReply, Reply } from '../request/reply.js';
import type { Claim, Granted } from '../store/claim.js';
import type { CommitResult } from './committer.js';
import type { GroupClaim, GroupStore, LargeReply } from './group.store.js';
import { inPipelinedTransaction } from './pipelined-transaction.js';
import { expectOneForEach, expectSameRequest, isClaiming, isCompleting, itemOf, serialise, type Unit } from './unit.js';

/** The result of a unit in a group. A large reply is known to be recorded, but has not been read yet. */
export type GroupResult = CommitResult | LargeReply;

/** The result of a phase for each unit. */
type Results = Map<Unit, unknown>;

/**
 * Commits a group in one transaction. It claims all keys with one statement, runs each phase once, and records all replies with one
 * statement. An error fails the whole group.
 *
 * @param units in lock order, and no two with the same key
 * @returns one result for each unit, in order
 * @throws CommitUnknown, FencedOff, KeyLocked, and every error of a phase. After every error except CommitUnknown, nothing is committed
 */
export async function commitTogether(
  dataSource: DataSource,
  store: GroupStore,
  units: readonly Unit[],
): Promise<GroupResult[]> {
  let replies = new Map<Unit, RecordedReply>();
  const { claims, results } = await inPipelinedTransaction(
    dataSource,
    {
      open: (sql) => claimKeys(sql, store, units),
      work: async (tx, claims) => {
        for (const [unit, claim] of claims) if (claim.kind === 'claimed') expectSameRequest(unit, claim);
        return { claims, ...(await runPhases(tx, claims)) };
      },
      close: ({ sql }, { results, sent }) => {
        replies = repliesOf(results);
        return [...sent, complete(sql, store, replies)];
      },
    },
    // A group gets one attempt. If it loses a race (deadlock or serialization failure), each request is retried in its own transaction.
    { attempts: units.length === 1 ? undefined : 1 },
  );
  return units.map((unit) => {
    const claim = claims.get(unit);
    if (claim?.kind !== 'claimed') return claim as Exclude<GroupClaim, Granted>;
    const { requestId } = claim;
    const reply = replies.get(unit);
    if (reply && isCompleting(unit)) return { kind: 'recorded', requestId, reply };
    return { kind: 'committed', requestId, result: reply ?? results.get(unit) };
  });
}

/** Claims the keys that are not held yet. The statement may be sent right behind BEGIN, because it does nothing if BEGIN fails. */
async function claimKeys(sql: SqlClient, store: GroupStore, units: readonly Unit[]): Promise<Map<Unit, GroupClaim>> {
  const claiming = units.filter(isClaiming);
  const answers = claiming.length > 0 ? await store.claimAll(sql, claiming) : [];
  const claims = new Map<Unit, GroupClaim>(claiming.map((unit, i) => [unit, answers[i] as GroupClaim]));
  return new Map(units.map((unit) => [unit, claims.get(unit) ?? heldBefore(unit)]));
}

function heldBefore(unit: Unit): Granted {
  if (isClaiming(unit)) throw new Error('The database did not answer the claim of a key');
  return { kind: 'claimed', requestId: unit.requestId };
}

/**
 * Runs each phase once, with the items of all its units. Waits only for the results that the replies need. If no reply needs the rows of a
 * statement, the statement is sent without waiting for its answer.
 *
 * @returns the results, which are complete when every promise in `sent` has resolved
 */
async function runPhases(
  tx: Transaction,
  claims: ReadonlyMap<Unit, GroupClaim>,
): Promise<{ results: Results; sent: Promise<void>[] }> {
  const results: Results = new Map();
  const sent: Promise<void>[] = [];
  const taken = [...claims].filter((entry): entry is [Unit, Granted] => entry[1].kind === 'claimed');
  // Phases run in the order of their operations, so that two groups with the same phases cannot deadlock.
  const phases = new Set(taken.toSorted(([a], [b]) => compareOperations(a, b)).map(([unit]) => unit.phase));
  for (const phase of phases) {
    const members = taken.filter(([unit]) => unit.phase === phase);
    const { answered, hasResults } = start(tx, phase, members, results);
    answered.catch(() => undefined);
    sent.push(answered);
    if (typeof phase === 'function' || !tx.sql.pipeline) await answered;
    else if (members.some(([unit]) => unit.kind !== 'claim')) await hasResults;
  }
  return { results, sent };
}

function compareOperations({ identity: a }: Unit, { identity: b }: Unit): number {
  if (a.operation === b.operation) return 0;
  return a.operation < b.operation ? -1 : 1;
}

/**
 * Starts a phase.
 *
 * @returns `hasResults`, which resolves when the results are in the map, and `answered`, which resolves when the statement is answered too
 */
function start(tx: Transaction, phase: AnyPhase<never, unknown>, members: [Unit, Claim][], into: Results) {
  const items = members.map(([unit, claim]) => itemOf(unit, (claim as Granted).requestId));
  const keep = (results: readonly unknown[]) => {
    expectOneForEach(results, items);
    members.forEach(([unit], i) => into.set(unit, results[i]));
  };
  if (typeof phase === 'function') {
    const answered = phase(tx.manager, items).then(keep);
    return { answered, hasResults: answered };
  }
  const { name, text } = phase;
  const rows = tx.sql.query({ name, text, values: phase.parameters(items) }).then((answer) => answer.rows);
  rows.catch(() => undefined);
  const hasResults = phase.results(items, rows).then(keep);
  return { answered: Promise.all([rows, hasResults]).then(() => undefined), hasResults };
}

function repliesOf(results: Results): Map<Unit, RecordedReply> {
  const replying = [...results].filter(([unit]) => unit.kind !== 'claim');
  return new Map(replying.map(([unit, result]) => [unit, serialise(result as Reply)]));
}

/**
 * Records the replies of the units that have a key, and replaces them in the map by the recorded replies.
 *
 * The invariant: only the attempt that holds the lock token commits an effect.
 */
async function complete(sql: SqlClient, store: GroupStore, replies: Map<Unit, RecordedReply>): Promise<void> {
  const units = [...replies.keys()].filter(isCompleting);
  if (units.length === 0) return;
  const completions = units.map((unit) => ({ ...unit, reply: replies.get(unit) as RecordedReply }));
  const recorded = await store.completeAll(sql, completions);
  units.forEach((unit, i) => replies.set(unit, recorded[i] as RecordedReply));
}
