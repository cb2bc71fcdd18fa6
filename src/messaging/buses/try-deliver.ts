import { Logger } from '@nestjs/common';
import type { Consumer, DeliveryOutcome, Receiver } from '../bus.js';
import type { Message } from '../message.js';

const logger = new Logger('Delivery');

/** Delivers a batch. If the receiver throws, the whole batch has `failed` and must be delivered again. Other consumers are not affected. */
export async function tryDeliver(
  receiver: Receiver,
  consumer: Consumer,
  messages: readonly Message[],
): Promise<readonly DeliveryOutcome[]> {
  return receiver.deliver(consumer, messages).catch((error: unknown) => {
    logger.warn(
      `${messages.length} messages will be delivered to ${consumer.name} again, because their outcome is unknown: ${String(error)}`,
    );
    return messages.map(() => 'failed');
  });
}
