import type { Consumer } from '../messaging/index.js';
import { applyPayments } from './order-payments.js';

/** The data of a `charge.succeeded` message, as far as orders use it. */
interface ChargeSucceeded {
  amount: number;
  currency: string;
  order_id: string | null;
}

/**
 * Marks orders as paid when messages report charges that name them. Adding a payment is not idempotent. A payment still
 * counts once, because the same transaction deletes the message from the outbox or records it in the inbox.
 */
export const paymentsConsumer: Consumer = {
  name: 'orders',
  types: ['charge.succeeded'],
  concerns: ({ data }) => (data as ChargeSucceeded).order_id !== null,
  handle: async (tx, messages) => {
    const payments = messages.map(({ accountId, data }) => {
      const { order_id, amount, currency } = data as ChargeSucceeded;
      return { account_id: accountId, order_id: order_id ?? '', amount, currency };
    });
    await applyPayments(tx, payments);
  },
};
