import { z } from 'zod';

/** An event for other parts of the application. Messages are delivered at least once and in any order. */
export interface Message {
  readonly accountId: string;
  /** The same at every delivery, so that consumers recognise duplicates: `<type>.<subject>`, such as `charge.succeeded.ch_019a…`. */
  readonly id: string;
  readonly type: string;
  readonly data: unknown;
  readonly createdAt: Date;
}

/** Returns a message in the format of the brokers: JSON. */
export const encode = (message: Message): string => JSON.stringify(message);

/**
 * Maximum length of each name, in UTF-16 code units. Account and id are part of a primary key, whose index row PostgreSQL
 * limits to 2,704 bytes, and two names of this length have at most 1,530 bytes in UTF-8.
 */
const MAX_NAME_LENGTH = 255;
/** Maximum levels of nesting in `data`: more than any event needs, and far below the stack limits of Node and PostgreSQL. */
const MAX_DEPTH = 64;

/** PostgreSQL stores neither U+0000 nor a surrogate without its other half. */
const isStorableText = (text: string) => !text.includes('\0') && text.isWellFormed();

function isStorable(value: unknown, levels = MAX_DEPTH): boolean {
  if (typeof value === 'string') return isStorableText(value);
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0) return false;
  return Object.entries(value).every(([name, member]) => isStorableText(name) && isStorable(member, levels - 1));
}

const name = z.string().min(1).max(MAX_NAME_LENGTH).refine(isStorableText);

const encoded = z.object({
  accountId: name,
  id: name,
  type: name,
  data: z.unknown().refine((data) => isStorable(data)),
  // This accepts the years 0 to 9999. PostgreSQL cannot store a time before 4713 BC.
  createdAt: z.iso.datetime({ offset: true }).transform((time) => new Date(time)),
});

/**
 * Reads a message that a broker delivers. Every message that passes can be stored as a dead letter, so a message that no
 * consumer can process ends there instead of being delivered forever.
 *
 * @throws Error that names the wrong members. It does not quote their values, because the error is logged.
 */
export function decode(text: string): Message {
  const { success, data, error } = encoded.safeParse(JSON.parse(text));
  if (success) return data;
  const members = new Set(error.issues.map(({ path }) => path.join('.') || 'message'));
  throw new Error(
    `Expected a message: accountId, id and type of 1 to ${MAX_NAME_LENGTH} characters, data of at most ${MAX_DEPTH} levels, createdAt, and only text that PostgreSQL can store; wrong: ${[...members].join(', ')}`,
  );
}
