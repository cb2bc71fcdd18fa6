import type { EntityManager } from 'typeorm';
import type { Mail } from '../mail.js';

/** An order gets at most one mail in this time. */
export const LIMIT_SECONDS = 86_400;

/** Decides which mails are sent: at most one a day for each order. In doubt, a mail is sent twice and not lost. */
export abstract class MailLimit {
  /**
   * Claims the one mail of 24 hours for each order.
   *
   * @param tx the transaction that records the messages as processed
   * @returns the mails to send. A mail whose transaction rolled back after an earlier call is among them again.
   */
  abstract admit(tx: EntityManager, mails: readonly Mail[]): Promise<readonly Mail[]>;
}
