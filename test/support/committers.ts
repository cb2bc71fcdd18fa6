import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from '@jest/globals';
import type { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Unit } from '../../src/idempotency/commit/unit.js';
import { fingerprintOf } from '../../src/idempotency/http/fingerprint.js';
import { GroupCommit } from '../../src/idempotency/commit/group-commit.js';
import type { PhaseItem } from '../../src/idempotency/index.js';
import { RequestIdentity } from '../../src/idempotency/request/request-identity.js';

/**
 * The ways in which an application under test commits: with the plain committer, with the fast committer, and with the fast committer under
 * so much load that each request shares a transaction with others.
 */
export const COMMITTERS = ['one by one', 'in groups', 'in groups with others'] as const;
export type CommitterName = (typeof COMMITTERS)[number];

/** The committers for suites that count statements or lose commits, which other requests in the group would disturb. */
export const COMMITTERS_ALONE = COMMITTERS.slice(0, 2);

/** Enough requests to occupy every group that may run when the request arrives, and to share the next group with it. */
const COMPANIONS = 6;

let current: CommitterName = 'in groups';

/** Selects the committer of the applications that the tests of this `describe` start. Call it before any other `beforeAll`. */
export function useCommitter(name: CommitterName): void {
  beforeAll(() => void (current = name));
  afterAll(() => void (current = 'in groups'));
}

/** Maximum number of requests in one commit of an application under test. */
export const maxGroupSize = () => (current === 'one by one' ? 1 : 64);

/** Sends other requests with each request if `in groups with others` is selected, so that it commits alone only after its group failed. */
export function addOthers(commits: GroupCommit): void {
  if (current !== 'in groups with others') return;
  const commit = commits.commit.bind(commits);
  commits.commit = (unit) => {
    const { accountId } = unit.identity;
    // Half of them belong to the unit's account, because an account that has made a group fail commits apart from other accounts.
    const companions = Array.from({ length: COMPANIONS }, (_, i) => companion(i % 2 ? accountId : 'company'));
    const before = companions.slice(1).map((each) => commit(each));
    const outcome = commit(unit);
    const all = [...before, ...companions.slice(0, 1).map((each) => commit(each))];
    all.forEach((each) => void each.catch(() => undefined));
    return outcome;
  };
}

/** A request that takes a key and leaves nothing behind. */
function companion(accountId: string): Unit {
  const key = randomUUID();
  return {
    kind: 'claim',
    isInDoubt: false,
    identity: new RequestIdentity(accountId, key, 'POST /company', fingerprintOf(key)),
    lockToken: randomUUID(),
    newRequestId: uuidv7(),
    phase: leave,
    input: undefined,
  };
}

async function leave(tx: EntityManager, items: readonly PhaseItem<never>[]): Promise<readonly undefined[]> {
  const requestIds = items.map(({ requestId }) => requestId);
  await tx.query('DELETE FROM processed_requests WHERE request_id = ANY ($1)', [requestIds]);
  return items.map(() => undefined);
}
