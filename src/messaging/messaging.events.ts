import { Injectable } from '@nestjs/common';
import { Subject } from 'rxjs';
import type { Delivery } from './bus.js';

/** What the module tells its observers: for metrics and logs, never for decisions. */
export type MessagingEvent =
  /** This many messages were put on the bus, and are marked so. */
  | { type: 'published'; messages: number }
  /** One message came to a consumer, for the first time or again. */
  | { type: 'delivered'; consumer: string; delivery: Delivery };

@Injectable()
export class MessagingEvents extends Subject<MessagingEvent> {}
