import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { Transaction } from '../../postgres/transaction.js';
import type { AnyPhase, PhaseItem } from '../request/phase.js';
import { RecordedReply, type Reply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';
import type { Attempt, Granted } from '../store/claim.js';

/** A phase of one request that is to be committed, and the change of the request's key in the same transaction. */
export type Unit = {
  readonly identity: RequestIdentity;
  readonly phase: AnyPhase<never, unknown>;
  readonly input: unknown;
} & (
  | ClaimingUnit
  /** Runs the phase and records the reply that it returns, on a key that is claimed already. */
  | { readonly kind: 'complete'; readonly lockToken: string; readonly requestId: string }
  /** Runs the phase only, because the request came without a key. */
  | { readonly kind: 'unkeyed'; readonly requestId: string }
);

/** Takes the key and runs the phase; `claim-and-complete` records the reply as well. */
export interface ClaimingUnit extends Attempt {
  readonly kind: 'claim' | 'claim-and-complete';
  /** The request id of an earlier claim of this request, if there was one. The unit fails if the key now belongs to a new request. */
  readonly requestId?: string;
}

/** Whether the unit has to take its key first. */
export const isClaiming = (unit: Unit): unit is Unit & ClaimingUnit =>
  unit.kind === 'claim' || unit.kind === 'claim-and-complete';

/** Whether the reply that the phase of the unit returns is recorded. */
export const isCompleting = (unit: Unit): unit is Unit & { lockToken: string } =>
  unit.kind === 'complete' || unit.kind === 'claim-and-complete';

/**
 * Makes sure that the key which the database has granted still belongs to the request of the unit.
 *
 * @throws Error if the request was claimed before, and its key has expired since then and belongs to a new request
 */
export function expectSameRequest(unit: Unit, { requestId }: Granted): void {
  if (unit.requestId && unit.requestId !== requestId) {
    throw new Error('The key expired while its request was being processed, and now belongs to a new request');
  }
}

/** The item that the phase of the unit gets. */
export const itemOf = (unit: Unit, requestId: string): PhaseItem<never> => ({
  accountId: unit.identity.accountId,
  requestId,
  isRecorded: isCompleting(unit),
  input: unit.input as never,
});

/** Runs a phase to its end and returns one result for each item. */
export async function runPhase(
  { sql, manager }: Transaction,
  phase: AnyPhase<never, unknown>,
  items: readonly PhaseItem<never>[],
): Promise<readonly unknown[]> {
  let results: readonly unknown[];
  if (typeof phase === 'function') results = await phase(manager, items);
  else {
    const { rows } = await sql.query({ name: phase.name, text: phase.text, values: phase.parameters(items) });
    results = await phase.results(items, Promise.resolve(rows));
  }
  expectOneForEach(results, items);
  return results;
}

/** Makes sure that a phase returned one result for each item. */
export function expectOneForEach(results: readonly unknown[], items: readonly unknown[]): void {
  if (results.length !== items.length) {
    throw new Error(`A phase returned ${results.length} results for ${items.length} items`);
  }
}

/**
 * Serialises a reply, once for each request. The result is both stored and sent, so a replay cannot differ from the first reply.
 *
 * The invariant: a reply that is committed can be sent. So this must run before COMMIT, and it throws if HTTP cannot carry the reply.
 *
 * @throws TypeError if the status is not from 200 to 599 (RFC 9110 §15; a status below 200 announces another reply), if a header has a name
 *   or a value that HTTP does not allow, or if the body has no JSON text
 */
export function serialise({ status, body, headers = {} }: Reply): RecordedReply {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new TypeError(`Expected the status of a reply to be an integer from 200 to 599, but it is ${String(status)}`);
  }
  // Lower-case the names, because jsonb would otherwise reorder two spellings of one header.
  const named = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  for (const [name, value] of Object.entries(named)) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  }
  if (body === undefined) return new RecordedReply(status, named, '');
  const json = JSON.stringify(body) as string | undefined;
  if (json === undefined)
    throw new TypeError(`Expected the body of a reply to be a JSON value, but it is a ${typeof body}`);
  return new RecordedReply(status, { 'content-type': 'application/json; charset=utf-8', ...named }, json);
}
