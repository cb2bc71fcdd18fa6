import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import type { Unit } from '../../src/idempotency/commit/committer.js';
import { GroupCommit } from '../../src/idempotency/commit/group-commit.js';
import type { PhaseItem } from '../../src/idempotency/index.js';
import { newRequestId } from '../../src/idempotency/request/request-id.js';
import { RequestIdentity } from '../../src/idempotency/request/request-identity.js';

/** TEST_GROUPS: `one` commits each request alone, `many` always in a group. Unset, requests share a commit only if they wait for one. */
const GROUPS = process.env['TEST_GROUPS'] as 'one' | 'many' | undefined;

/** Maximum number of requests in one commit of an application under test. */
export const MAX_GROUP_SIZE = GROUPS === 'one' ? 1 : 64;

/** Enough requests to occupy every group that may run when the request arrives, and to share the next group with it. */
const COMPANIONS = 6;

/** With TEST_GROUPS=many, sends other requests with each request, so that it commits alone only after its group has failed. */
export function keepCompany(commits: GroupCommit): void {
  if (GROUPS !== 'many') return;
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
    identity: new RequestIdentity(accountId, key, 'POST /company', () => key),
    lockToken: randomUUID(),
    newRequestId: newRequestId(),
    phase: leave,
    input: undefined,
  };
}

async function leave(tx: EntityManager, items: readonly PhaseItem<never>[]): Promise<readonly undefined[]> {
  const requestIds = items.map(({ requestId }) => requestId);
  await tx.query('DELETE FROM processed_requests WHERE request_id = ANY ($1)', [requestIds]);
  return items.map(() => undefined);
}
