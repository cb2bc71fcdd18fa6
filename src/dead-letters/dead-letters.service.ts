import { Injectable } from '@nestjs/common';
import { Problem } from '../http/problem.js';
import { DeadLetters } from '../messaging/index.js';
import type { DeadLetterList } from './dto/dead-letter-list.resource.js';
import { toResource } from './dto/dead-letter.resource.js';
import type { Redelivery } from './dto/redelivery.resource.js';

/** Maximum number of dead letters in one reply. A working system has none, so there are no further pages. */
export const MAX_LISTED = 100;

/** Lists and redelivers the dead letters of one account. */
@Injectable()
export class DeadLettersService {
  constructor(private readonly deadLetters: DeadLetters) {}

  /** Returns the latest {@link MAX_LISTED} dead letters, the latest first. */
  async list(accountId: string): Promise<DeadLetterList> {
    const letters = await this.deadLetters.list(accountId, MAX_LISTED);
    return { object: 'list', data: letters.map(toResource) };
  }

  /** @throws Problem 404 `not_found` if the message is not a dead letter of this consumer and this account */
  async redeliver(accountId: string, consumer: string, messageId: string): Promise<Redelivery> {
    const delivery = await this.deadLetters.redeliver(accountId, consumer, messageId);
    if (!delivery) throw new Problem('not_found', 'There is no dead letter with this consumer and message_id.');
    return { delivery };
  }
}
