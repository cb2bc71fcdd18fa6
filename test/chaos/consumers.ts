/** The consumers of `charge.succeeded` of a charge that names an order. */
export const CONSUMERS = ['balance', 'orders', 'notifications'] as const;

/** The consumers that process the message of a charge. */
export const consumersOf = (orderId: string | null): readonly string[] => (orderId === null ? ['balance'] : CONSUMERS);
