import type { DataSource, EntityManager } from 'typeorm';
import { receive } from '../../messaging/index.js';
import { AWAIT_STANDBYS } from '../../postgres/replication.js';
import { inTransaction } from '../../postgres/transaction.js';
import type { Charge } from '../charge.entity.js';
import type { StripeEvent } from './stripe-event.js';

/** The name of the webhook in the inbox. It stays the same for ever, because the inbox remembers it across deployments. */
export const STRIPE = 'stripe';

/**
 * Inserts an event into the inbox and does its work, in one transaction, unless the event is there already.
 *
 * @returns whether the event was new
 */
export function receiveOnce(
  dataSource: DataSource,
  event: StripeEvent,
  { account_id: accountId }: Charge,
  work: (tx: EntityManager) => Promise<void> = () => Promise.resolve(),
): Promise<boolean> {
  return inTransaction(dataSource, async ({ sql, manager }) => {
    const isNew = (await receive(manager, STRIPE, [{ accountId, id: event.id }])) > 0;
    if (isNew) await work(manager);
    // Stripe will not send an event again that is answered with 200, so its row in the inbox must be replicated.
    else await sql.query(`SELECT ${AWAIT_STANDBYS}`);
    return isNew;
  });
}
