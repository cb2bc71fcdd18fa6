/** Something that happened, told to whoever is concerned: at least once, and in any order. */
export interface Message {
  readonly accountId: string;
  /** The same at every delivery: `<type>.<subject>`, such as `charge.succeeded.ch_019a…`. */
  readonly id: string;
  readonly type: string;
  readonly data: unknown;
  readonly createdAt: Date;
}

/** A message as it travels: JSON in UTF-8. */
export const encode = (message: Message): string => JSON.stringify(message);

/** @throws Error for what is no message */
export function decode(text: string): Message {
  const value = JSON.parse(text) as Partial<Record<keyof Message, unknown>> | null;
  const { accountId, id, type, data, createdAt } = value ?? {};
  if (
    typeof accountId !== 'string' ||
    typeof id !== 'string' ||
    typeof type !== 'string' ||
    typeof createdAt !== 'string'
  ) {
    throw new Error('Expected a message: accountId, id, type, data and createdAt');
  }
  return { accountId, id, type, data, createdAt: new Date(createdAt) };
}
