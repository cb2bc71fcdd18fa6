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

/** An escaped NUL in JSON, which an even number of backslashes before it would make text. */
const NUL = /(?<!\\)(?:\\\\)*\\u0000/;

/** @throws Error for what is no message, or is one that PostgreSQL could not keep as a dead letter: it stores no NUL */
export function decode(text: string): Message {
  const value = JSON.parse(text) as Partial<Record<keyof Message, unknown>> | null;
  const { accountId, id, type, data, createdAt } = value ?? {};
  if (
    typeof accountId !== 'string' ||
    typeof id !== 'string' ||
    typeof type !== 'string' ||
    typeof createdAt !== 'string' ||
    Number.isNaN(Date.parse(createdAt)) ||
    NUL.test(text)
  ) {
    throw new Error('Expected a message: accountId, id, type, data and createdAt, without NUL');
  }
  return { accountId, id, type, data, createdAt: new Date(createdAt) };
}
