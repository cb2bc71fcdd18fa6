/** A mail to an account about a charge for one of its orders. */
export interface Mail {
  readonly accountId: string;
  readonly orderId: string;
  /** The id of the message that causes the mail. It is the same at every delivery of the message. */
  readonly messageId: string;
}
