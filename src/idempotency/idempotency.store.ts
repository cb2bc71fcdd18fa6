import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { CLAIM, COMPLETE, FIND, OLDEST_UNFINISHED, RELEASE, SWEEP, TAKE_OVER } from './idempotency.sql.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency.options.js';
import { RecordedReply } from './reply.js';
import { inTransaction, type SqlClient, type SqlResult } from './transaction.js';

/** Which request: the account and the key name it, the fingerprint says what it is. */
export interface RequestIdentity {
  readonly accountId: string;
  readonly key: string;
  /** Method and route, such as `POST /charges`. */
  readonly operation: string;
  readonly fingerprint: Buffer;
}

/** What became of an attempt to claim a key. */
export type Claim =
  /** The key is ours until the lease lapses. `requestId` is the same at every retry of one request. */
  | { kind: 'claimed'; requestId: string }
  /** The reply is recorded. `lockToken` tells who recorded it. */
  | { kind: 'completed'; reply: RecordedReply; lockToken: string }
  /** Another holder's lease is running. */
  | { kind: 'in_progress' }
  /** The key stands for another request. */
  | { kind: 'reused' }
  /** The row changed between two looks at it; the next statement sees the change. */
  | { kind: 'raced' };

/** An attempt to take a key. */
export interface Attempt {
  readonly identity: RequestIdentity;
  readonly lockToken: string;
  /** The name of the request, should it be new. */
  readonly newRequestId: string;
}

/** The end of an attempt: what its request is answered with, from now on. */
export interface Completion {
  readonly identity: RequestIdentity;
  readonly lockToken: string;
  readonly reply: RecordedReply;
}

/** A request that was taken over from a holder whose lease had lapsed. */
export interface Abandoned extends RequestIdentity {
  requestId: string;
}

/** The state of a key, as its owner may read it. */
export interface KeyStatus {
  status: 'in_progress' | 'completed';
  operation: string;
  createdAt: Date;
  expiresAt: Date;
}

/**
 * The rows of `processed_requests`: one verb, one statement.
 *
 * ```
 *             claim                       complete
 *  (none) ───────────────▶ in progress ───────────────▶ completed ──retention──▶ (none)
 *     ▲                     │      ▲                        │        sweep, or
 *     │                     └──────┘                        │        the next claim
 *     │       claim, takeOver: once the lease has lapsed    │
 *     └─────────────────────────────────────────────────────┘
 * ```
 *
 * `release` lets a lease lapse at once. In progress is left by `complete` alone: no sweep, no expiry. Only the
 * holder of the lock token completes. Completed rows never change.
 */
@Injectable()
export class IdempotencyStore {
  constructor(
    private readonly dataSource: DataSource,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {}

  /**
   * Takes each key for its lock token: a new key, an expired one, one of ours (after a lost COMMIT), or one whose
   * lease has lapsed. Keys that cannot be taken are only read, so that a replay costs one indexed read and writes
   * nothing.
   *
   * No attempt waits for another's transaction: a key that is being written elsewhere is `in_progress`. Unless `wait`
   * is set, for an attempt in doubt: its insert waits for a commit that is still on its way, which a plain SELECT
   * would not see.
   *
   * @param attempts sorted and without a key twice, so that no two transactions lock the same rows in another order
   * @returns what became of each, in order
   */
  async claim(sql: SqlClient, attempts: readonly Attempt[], wait: boolean): Promise<Claim[]> {
    const { rows } = await sql.query({
      name: 'idempotency_claim',
      text: CLAIM,
      values: [
        attempts.map(({ identity }) => identity.accountId),
        attempts.map(({ identity }) => identity.key),
        attempts.map(({ newRequestId }) => newRequestId),
        attempts.map(({ identity }) => identity.operation),
        attempts.map(({ identity }) => identity.fingerprint),
        attempts.map(({ lockToken }) => lockToken),
        this.options.leaseSeconds,
        this.retentionSeconds,
        wait,
      ],
    });
    const claims = new Array<Claim>(attempts.length);
    for (const row of rows as unknown as ClaimRow[]) {
      const index = Number(row.position) - 1;
      claims[index] = claimOf(row, attempts[index]?.identity.fingerprint);
    }
    return claims;
  }

  /**
   * Records the replies of those that still hold their keys.
   *
   * @returns whether each of them does; if not, whatever this transaction has done must be rolled back
   */
  async complete(sql: SqlClient, completions: readonly Completion[]): Promise<boolean> {
    const { rowCount } = await sql.query({
      name: 'idempotency_complete',
      text: COMPLETE,
      values: [
        completions.map(({ identity }) => identity.accountId),
        completions.map(({ identity }) => identity.key),
        completions.map(({ lockToken }) => lockToken),
        completions.map(({ reply }) => reply.status),
        completions.map(({ reply }) => JSON.stringify(reply.headers)),
        completions.map(({ reply }) => reply.body),
        this.retentionSeconds,
      ],
    });
    return rowCount === completions.length;
  }

  /** Ends the lease of an attempt that failed, so that the next one need not wait for it to lapse. */
  async release(request: RequestIdentity, lockToken: string): Promise<void> {
    await this.run(RELEASE, [request.accountId, request.key, lockToken]);
  }

  /** Takes over up to `limit` requests of one operation whose lease has lapsed, the longest lapsed first. */
  async takeOver(operation: string, lockToken: string, limit: number): Promise<Abandoned[]> {
    const parameters = [operation, lockToken, this.options.leaseSeconds, limit];
    const { rows } = await this.run(TAKE_OVER, parameters);
    return (rows as unknown as AbandonedRow[]).map((row) => ({
      accountId: row.account_id,
      key: row.idempotency_key,
      requestId: row.request_id,
      operation,
      fingerprint: row.fingerprint,
    }));
  }

  /** The state of one key; `undefined` when it is unknown, or completed and expired. */
  async find(accountId: string, key: string): Promise<KeyStatus | undefined> {
    const [row] = await this.dataSource.query<KeyStatusRow[]>(FIND, [accountId, key, this.retentionSeconds]);
    return (
      row && { status: row.status, operation: row.operation, createdAt: row.created_at, expiresAt: row.expires_at }
    );
  }

  /** Deletes up to `limit` completed rows past their retention, skipping those that somebody else has locked. */
  async sweep(limit: number): Promise<number> {
    const { rowCount } = await this.run(SWEEP, [this.retentionSeconds, limit]);
    return rowCount ?? 0;
  }

  /** Seconds since the oldest unfinished request was first claimed; 0 when nothing is unfinished. */
  async oldestUnfinishedSeconds(): Promise<number> {
    const [row] = await this.dataSource.query<{ seconds: number }[]>(OLDEST_UNFINISHED);
    return row?.seconds ?? 0;
  }

  /** A statement of its own, at the isolation of the protocol rather than the server's default. */
  private run(text: string, values: unknown[]): Promise<SqlResult> {
    return inTransaction(this.dataSource, ({ sql }) => sql.query({ text, values }));
  }

  private get retentionSeconds(): number {
    return this.options.retentionHours * 3600;
  }
}

interface ClaimRow {
  position: string;
  /** Of a key that was claimed. */
  request_id: string | null;
  /** Of a key that can be taken: whether nobody is writing it. */
  free: boolean | null;
  held_fingerprint: Buffer | null;
  held_token: string | null;
  response_status: number | null;
  response_headers: Record<string, string> | null;
  response_body: string | null;
}

interface AbandonedRow {
  account_id: string;
  idempotency_key: string;
  request_id: string;
  fingerprint: Buffer;
}

interface KeyStatusRow {
  status: 'in_progress' | 'completed';
  operation: string;
  created_at: Date;
  expires_at: Date;
}

function claimOf(row: ClaimRow, fingerprint: Buffer | undefined): Claim {
  if (row.request_id !== null) return { kind: 'claimed', requestId: row.request_id };
  if (row.free !== null) return { kind: row.free ? 'raced' : 'in_progress' };
  if (!fingerprint || !row.held_fingerprint?.equals(fingerprint)) return { kind: 'reused' };
  const { held_token, response_status, response_headers, response_body } = row;
  if (held_token === null || response_status === null || response_headers === null || response_body === null) {
    return { kind: 'in_progress' };
  }
  return {
    kind: 'completed',
    reply: new RecordedReply(response_status, response_headers, response_body),
    lockToken: held_token,
  };
}
