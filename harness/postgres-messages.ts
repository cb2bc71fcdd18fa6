/** A message that a client sends to PostgreSQL. */
export interface Message {
  bytes: Buffer;
  /** The text of a simple query message; empty for every other message. */
  text: string;
  /** Query ('Q') or Execute ('E'). */
  isStatement: boolean;
}

/** Splits the bytes that a client sends into whole messages. */
export class MessageSplitter {
  private rest: Buffer = Buffer.alloc(0);

  /** Whether a part of the next message has arrived already. */
  get hasMore(): boolean {
    return this.rest.length > 0;
  }

  push(data: Buffer): Message[] {
    this.rest = Buffer.concat([this.rest, data]);
    const messages: Message[] = [];
    for (let length = this.nextLength(); length <= this.rest.length; length = this.nextLength()) {
      messages.push(messageOf(this.rest.subarray(0, length)));
      this.rest = this.rest.subarray(length);
    }
    return messages;
  }

  /** The startup message begins with its length, whose first byte is 0. All other messages begin with their type, then their length. */
  private nextLength(): number {
    const typeBytes = this.rest[0] === 0 ? 0 : 1;
    return this.rest.length < typeBytes + 4 ? Infinity : typeBytes + this.rest.readUInt32BE(typeBytes);
  }
}

function messageOf(bytes: Buffer): Message {
  const type = String.fromCharCode(bytes[0] ?? 0);
  return {
    bytes,
    text: type === 'Q' ? bytes.toString('utf8', 5, bytes.length - 1) : '',
    isStatement: /[QE]/.test(type),
  };
}

function simpleQuery(text: string): Buffer {
  const message = Buffer.from(`Q\0\0\0\0${text}\0`);
  message.writeUInt32BE(message.length - 1, 1);
  return message;
}

const CANCEL = `DO $$ BEGIN RAISE EXCEPTION 'canceling statement due to user request' USING ERRCODE = '57014'; END $$`;

/** A statement that replaces another one, so that PostgreSQL answers as if that one had been cancelled: SQLSTATE 57014. */
export const CANCELLED = simpleQuery(CANCEL);

/** A BEGIN that succeeds, followed in the same message by a statement that fails as if it had been cancelled. */
export const CANCELLED_BEHIND_BEGIN = simpleQuery(`BEGIN; ${CANCEL}`);

/** The message that a server sends before it ends a connection: ErrorResponse, FATAL, SQLSTATE 57P01. */
export const TERMINATED = (() => {
  const fields = ['SFATAL', 'VFATAL', 'C57P01', 'Mterminating connection due to administrator command', ''];
  const message = Buffer.from(`E\0\0\0\0${fields.join('\0')}\0`);
  message.writeUInt32BE(message.length - 1, 1);
  return message;
})();

/** Whether the last message is ReadyForQuery outside of a transaction: 'Z', its length, 'I'. */
export const isIdleAfter = (data: Buffer) => data.subarray(-6).toString('latin1') === 'Z\0\0\0\x05I';
