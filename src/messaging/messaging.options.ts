import { ConfigurableModuleBuilder } from '@nestjs/common';
import type { MessageBus } from './bus.js';

export interface MessagingOptions {
  /** What carries the messages. */
  bus: MessageBus;
  /** Milliseconds between two looks at an outbox that was empty. */
  relayIntervalMs: number;
  /** Milliseconds before a message that could not be published is tried again the first time; twice as many each time after. */
  retryMs: number;
  /** Deliveries that a consumer may fail at before a message is a dead letter. */
  maxAttempts: number;
  /** Hours that published and processed messages are kept; a delivery that comes later would take effect again. */
  retentionHours: number;
  /** When to delete what is older, as a cron expression. */
  sweepCron: string;
}

export const { ConfigurableModuleClass: ConfigurableMessagingModule, MODULE_OPTIONS_TOKEN: MESSAGING_OPTIONS } =
  new ConfigurableModuleBuilder<MessagingOptions>()
    .setClassMethodName('forRoot')
    .setExtras({}, (definition) => ({ ...definition, global: true }))
    .build();
