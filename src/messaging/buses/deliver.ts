import { Logger } from '@nestjs/common';
import type { Consumer, Delivery, Receiver } from '../bus.js';
import type { Message } from '../message.js';

const logger = new Logger('Delivery');

/** Delivers. What nothing is known of has failed, and is to be delivered again; it is no trouble of other consumers. */
export async function deliver(
  receiver: Receiver,
  consumer: Consumer,
  messages: readonly Message[],
): Promise<readonly Delivery[]> {
  return receiver.deliver(consumer, messages).catch((error: unknown) => {
    logger.warn(
      `${messages.length} messages are delivered to ${consumer.name} again, since it is not known of them: ${String(error)}`,
    );
    return messages.map(() => 'failed');
  });
}
