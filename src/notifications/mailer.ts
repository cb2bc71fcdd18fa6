import { Injectable, Logger } from '@nestjs/common';
import type { Mail } from './mail.js';

/** Sends mails. This service has no mail server, so a mail is a line in the log. */
@Injectable()
export class Mailer {
  private readonly logger = new Logger(Mailer.name);

  send({ accountId, orderId }: Mail): void {
    this.logger.log(`Mail to ${accountId}: the order ${orderId} was charged`);
  }
}
