/** A transaction that a client has asked PostgreSQL to commit. */
export interface Commit {
  statements: readonly string[];
  /** The changes of rows, such as `insert charges, outbox`, once PostgreSQL has answered. One element for each verb. */
  changes: readonly string[];
  isLost: boolean;
}

const WRITTEN = /\b(INSERT|UPDATE|DELETE)\s+(?:INTO\s+|FROM\s+)?(?:"?\w+"?\.)?"?(\w+)"?/gi;
/** The tables that a reader of the lab sees. */
const SHOWN = ['processed_requests', 'charges', 'outbox'];

/**
 * Follows the messages on one connection to PostgreSQL, and recognises what commits: a COMMIT, and a statement outside of a transaction,
 * which PostgreSQL commits by itself.
 */
export class TransactionLog {
  private readonly texts = new Map<string, string>();
  /** One element for each answer that the client expects, which PostgreSQL ends with ReadyForQuery: the commit that it confirms, if any. */
  private readonly expected: (Commit | undefined)[] = [];
  private statements: string[] = [];
  private isInTransaction = false;
  private changes = 0;

  /** Notes a message of the client. Returns the commit that the message asks for. */
  sent(bytes: Buffer): Commit | undefined {
    switch (String.fromCharCode(bytes[0] ?? 0)) {
      case 'P': {
        const [name = '', text = ''] = bytes.toString('utf8', 5).split('\0');
        this.texts.set(name, text);
        return undefined;
      }
      case 'B': {
        const [, name = ''] = bytes.toString('latin1', 5).split('\0');
        this.statements.push(this.texts.get(name) ?? '');
        return undefined;
      }
      case 'Q':
        return this.query(bytes.toString('utf8', 5, bytes.length - 1));
      case 'S':
        return this.expect(!this.isInTransaction);
      default:
        return undefined;
    }
  }

  /** Notes a message of PostgreSQL. Returns the commit that the message confirms. */
  answered(bytes: Buffer): Commit | undefined {
    const type = String.fromCharCode(bytes[0] ?? 0);
    if (type === 'C') this.changes += changesOf(bytes.toString('latin1', 5, bytes.length - 1));
    if (type !== 'Z') return undefined;
    const commit = this.expected.shift();
    const hasChanged = this.changes > 0;
    // A failed statement leaves the transaction open, and ROLLBACK ends it.
    if (bytes[5] === IDLE) this.changes = 0;
    if (!commit || bytes[5] !== IDLE) return undefined;
    return { ...commit, changes: hasChanged ? commit.changes : [] };
  }

  matches({ statements }: Commit, pattern: RegExp): boolean {
    return statements.some((statement) => pattern.test(statement));
  }

  private query(text: string): Commit | undefined {
    if (/^(BEGIN|START TRANSACTION)/i.test(text)) {
      this.isInTransaction = true;
      this.statements = [];
      return this.expect(false);
    }
    const isEnd = /^(COMMIT|ROLLBACK)$/i.test(text);
    if (!isEnd) {
      this.statements.push(text);
      return this.expect(!this.isInTransaction);
    }
    this.isInTransaction = false;
    const commit = this.expect(text.toUpperCase() === 'COMMIT');
    this.statements = [];
    return commit;
  }

  private expect(commits: boolean): Commit | undefined {
    const { statements } = this;
    const changes = new Map<string, Set<string>>();
    for (const [, verb = '', table = ''] of statements.flatMap((text) => [...text.matchAll(WRITTEN)])) {
      if (!SHOWN.includes(table)) continue;
      changes.set(verb, (changes.get(verb) ?? new Set()).add(table));
    }
    const commit = commits ? { statements, changes: [...changes].map(inWords), isLost: false } : undefined;
    this.expected.push(commit);
    if (commits) this.statements = [];
    return commit;
  }
}

const inWords = ([verb, tables]: [string, Set<string>]) => `${verb.toLowerCase()} ${[...tables].join(', ')}`;

/** The status in ReadyForQuery outside of a transaction. */
const IDLE = 'I'.charCodeAt(0);

/** Number of rows in the tag of CommandComplete, such as `INSERT 0 1` and `UPDATE 1`. The tag of a plain SELECT counts as well. */
const changesOf = (tag: string) => (/^(INSERT|UPDATE|DELETE|SELECT) /.test(tag) ? Number(tag.split(' ').at(-1)) : 0);
