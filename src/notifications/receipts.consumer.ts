import type { Consumer } from '../messaging/index.js';
import type { MailLimit } from './mail-limit/mail-limit.js';
import type { Mailer } from './mailer.js';

/** The data of a `charge.succeeded` message, as far as mails use it. */
interface ChargeSucceeded {
  order_id: string | null;
}

/**
 * Sends a mail about an order when it is charged, at most one a day.
 *
 * A rollback of the transaction cannot undo a mail, so the mail is sent again when the message is delivered again. The inbox cannot limit
 * the mails of an order, because several charges of one order are different messages.
 */
export const receiptsConsumer = (limit: MailLimit, mailer: Mailer): Consumer => ({
  name: 'notifications',
  types: ['charge.succeeded'],
  concerns: ({ data }) => (data as ChargeSucceeded).order_id !== null,
  handle: async (tx, messages) => {
    const mails = messages.map(({ accountId, id, data }) => ({
      accountId,
      orderId: (data as ChargeSucceeded).order_id ?? '',
      messageId: id,
    }));
    for (const mail of await limit.admit(tx, mails)) mailer.send(mail);
  },
});
