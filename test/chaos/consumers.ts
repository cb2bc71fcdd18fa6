/** The message types of each consumer. Only the balance also processes messages of refunds. */
export const TYPES = {
  balance: ['charge.succeeded', 'refund.succeeded'],
  orders: ['charge.succeeded'],
  notifications: ['charge.succeeded'],
} as const;

/** The consumers of `charge.succeeded` of a charge that names an order. */
export const CONSUMERS = Object.keys(TYPES) as readonly (keyof typeof TYPES)[];

/** The consumers that process the message of a charge. */
export const consumersOf = (orderId: string | null): readonly string[] => (orderId === null ? ['balance'] : CONSUMERS);
