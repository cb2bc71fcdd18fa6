import { Injectable } from '@nestjs/common';
import { Subject } from 'rxjs';
import type { Consumer, DeliveryOutcome } from './bus.js';

/** Events of this module for metrics and logs. No code makes a decision that depends on them. */
export type MessagingEvent =
  /** This number of messages was put on the bus and marked as published, or took effect at once. */
  | { type: 'published'; messages: number }
  /** One message was delivered to a consumer, for the first time or again. */
  | { type: 'delivered'; consumer: string; outcome: DeliveryOutcome };

@Injectable()
export class MessagingEvents extends Subject<MessagingEvent> {
  /** Emits one event for each delivery to a consumer. */
  announce({ name: consumer }: Consumer, outcomes: readonly DeliveryOutcome[]): void {
    for (const outcome of outcomes) this.next({ type: 'delivered', consumer, outcome });
  }
}
