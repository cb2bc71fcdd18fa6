import { Module } from '@nestjs/common';
import { Consumers } from './consumers.js';
import { DeadLetters } from './dead-letters.js';
import { Inbox } from './inbox.js';
import { MessageSweeper } from './message-sweeper.js';
import { MessagingEvents } from './messaging.events.js';
import { ConfigurableMessagingModule } from './messaging.options.js';
import { Outbox } from './outbox.js';
import { Relay } from './relay.js';

/** Outbox, relay and inbox. The application must provide a TypeORM `DataSource` on PostgreSQL and `ScheduleModule.forRoot()`. */
@Module({
  providers: [Consumers, DeadLetters, Inbox, MessageSweeper, MessagingEvents, Outbox, Relay],
  exports: [Consumers, DeadLetters, MessageSweeper, MessagingEvents, Outbox, Relay],
})
export class MessagingModule extends ConfigurableMessagingModule {}
