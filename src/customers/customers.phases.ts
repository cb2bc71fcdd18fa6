import type { EntityManager } from 'typeorm';
import type { Phase, PhaseItem, Reply } from '../idempotency/index.js';
import { inLockOrder, nameWithin } from '../postgres/lock-order.js';
import type { Customer } from './customer.entity.js';
import { customerNotFound, versionMismatch } from './customers.problems.js';
import { CHANGE } from './customers.sql.js';
import type { ChangeCustomer } from './dto/change-customer.dto.js';
import { etagOf, toResource } from './dto/customer.resource.js';

/** A change of one customer. It takes effect only if the customer has one of `versions`. */
export interface CustomerChange {
  id: string;
  versions: number[];
  content: ChangeCustomer;
}

/**
 * Changes customers under an optimistic lock: no row is locked between the client's read and its write. If two clients
 * have read the same version, the first change wins. The loser gets a 412 and decides what to do, instead of silently
 * overwriting the winner.
 */
export const changeCustomer: Phase<CustomerChange, Reply> = async (tx, requests) => {
  const replies = new Map<PhaseItem<CustomerChange>, Reply>();
  // Changes run one after another. So if the list has two changes of one customer, the second change finds the version
  // that the first change has written.
  const ordered = inLockOrder(requests, ({ accountId, input }) => nameWithin(accountId, input.id));
  for (const request of ordered) replies.set(request, await changeOne(tx, request));
  return requests.map((request) => replies.get(request) as Reply);
};

async function changeOne(tx: EntityManager, request: PhaseItem<CustomerChange>): Promise<Reply> {
  const { id, versions, content } = request.input;
  const { name = null, email = null, status = null } = content;
  const [row] = await tx.query<ChangeRow[]>(CHANGE, [request.accountId, id, versions, name, email, status]);
  if (!row) return customerNotFound(request.isRecorded ? 'final' : 'not_started').toReply();
  const { is_changed: isChanged, ...customer } = row;
  if (!isChanged) return versionMismatch(customer).toReply();
  return { status: 200, body: toResource(customer), headers: { etag: etagOf(customer) } };
}

/** The customer after the change, or the current customer if its version did not match. */
type ChangeRow = Customer & { is_changed: boolean };
