import type { EntityManager } from 'typeorm';
import { Problem } from '../http/problem.js';
import type { Phase, PhaseItem, Reply } from '../idempotency/index.js';
import { nameWithin } from '../postgres/lock-order.js';
import type { Customer } from './customer.entity.js';
import type { ChangeCustomer } from './dto/customer.dto.js';
import { etagOf, toResource } from './dto/customer.resource.js';

/** A change of what a customer was at certain versions, and of nothing else. */
export interface Change {
  id: string;
  versions: number[];
  change: ChangeCustomer;
}

/**
 * Changes customers under an optimistic lock: nothing is locked while a client thinks, and of two who have read the same
 * version, one changes it. Who was refused has the choice that a lost update would have taken from them.
 */
export const change: Phase<Change, Reply> = async (tx, items) => {
  const replies = new Map<PhaseItem<Change>, Reply>();
  // Sorted, so that no two transactions wait for each other. And one after the other: of two changes of one customer in one
  // commit, the second is refused like any other.
  for (const item of items.toSorted(byCustomer)) replies.set(item, await changeOne(tx, item));
  return items.map((item) => replies.get(item) as Reply);
};

const byCustomer = (a: PhaseItem<Change>, b: PhaseItem<Change>) => {
  const [one, other] = [nameWithin(a.accountId, a.input.id), nameWithin(b.accountId, b.input.id)];
  return one === other ? 0 : one < other ? -1 : 1;
};

async function changeOne(tx: EntityManager, { accountId, isRecorded, input }: PhaseItem<Change>): Promise<Reply> {
  const { id, versions, change } = input;
  const { name = null, email = null, status = null } = change;
  const [held] = await tx.query<Held[]>(CHANGE, [accountId, id, versions, name, email, status]);
  if (!held) return noSuchCustomer(isRecorded ? 'final' : 'not_started').toReply();
  const { is_meant: isMeant, ...customer } = held;
  return isMeant ? reply(200, customer) : versionMismatch(customer).toReply();
}

type Held = Customer & { is_meant: boolean };

/** A customer, with its version. */
export const reply = (status: number, customer: Customer): Reply => ({
  status,
  body: toResource(customer),
  headers: { etag: etagOf(customer) },
});

// One statement, so that whether there is such a customer and which version it has is the state of one moment.
const CHANGE = `
  WITH held AS (
    SELECT * FROM customers WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE
  ), changed AS (
    UPDATE customers SET name = coalesce($4, held.name), email = coalesce($5, held.email),
      status = coalesce($6, held.status), version = held.version + 1
    FROM held
    WHERE customers.account_id = $1 AND customers.id = $2 AND held.version = ANY ($3::integer[])
    RETURNING customers.*)
  SELECT *, true AS is_meant FROM changed
  UNION ALL
  SELECT *, false FROM held WHERE version <> ALL ($3::integer[])`;

/** 412, RFC 9110 §15.5.13. */
export const versionMismatch = (current: Customer | undefined) =>
  new Problem(
    'version_mismatch',
    current
      ? 'The customer has been changed since the version in If-Match was read.'
      : 'There is no such customer, so no version of it.',
    { outcome: 'final', headers: current && { etag: etagOf(current) } },
  );

export const noSuchCustomer = (outcome: 'final' | 'not_started') =>
  new Problem('not_found', 'There is no customer with this id.', { outcome });
