/** A mail that tells an account that one of its orders was charged. */
export interface Mail {
  readonly accountId: string;
  readonly orderId: string;
  /** The id of the message that causes the mail. It is the same at every delivery of the message. */
  readonly messageId: string;
}
