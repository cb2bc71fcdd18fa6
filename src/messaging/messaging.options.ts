import { ConfigurableModuleBuilder } from '@nestjs/common';
import type { MessageBus } from './bus.js';

export interface MessagingOptions {
  /** Carries the messages from the outbox to the consumers. */
  bus: MessageBus;
  /** Milliseconds between two runs of the relay. */
  relayIntervalMs: number;
  /**
   * Milliseconds before the first retry of a message that could not be published. The outbox doubles the delay after each failure to publish.
   */
  retryMs: number;
  /** Failed attempts of one consumer after which a message is a dead letter. */
  maxAttempts: number;
  /** Hours for which published and processed messages are kept. A message that is delivered again after that takes effect again. */
  retentionHours: number;
  /** Cron expression for the sweep, which deletes older messages. */
  sweepCron: string;
}

export const { ConfigurableModuleClass: ConfigurableMessagingModule, MODULE_OPTIONS_TOKEN: MESSAGING_OPTIONS } =
  new ConfigurableModuleBuilder<MessagingOptions>()
    .setClassMethodName('forRoot')
    .setExtras({}, (definition) => ({ ...definition, global: true }))
    .build();
