import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import {
  CLAIM,
  COMPLETE,
  FIND,
  FORGET,
  OLDEST_UNFINISHED,
  READ_REPLY,
  RELEASE,
  SWEEP,
  TAKE_OVER,
  UNRESUMED,
} from './idempotency.sql.js';
import { type Claim, claimOf, type ClaimRow, type LargeReply } from './claim.js';
import { isLockTimeout, sqlState } from '../../postgres/database-errors.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { RecordedReply } from '../request/reply.js';
import { RequestIdentity } from '../request/request-identity.js';
import { inTransaction, type SqlClient, type SqlResult } from '../../postgres/transaction.js';

/** Another holder has taken over: nothing of this attempt may be committed. */
export class FencedOff extends Error {}

/** The key is locked by a transaction that has not ended within `lock_timeout`. */
export class KeyLocked extends Error {}

/**
 * Bytes of replies that one claim reads, all keys together. PostgreSQL cannot end a transaction while it waits for a client to
 * read, so a process that freezes must not keep it waiting while locks are held. This much fits into the socket buffers
 * that Linux gives every connection: a receive window of 64 KiB, and more than 40 KiB on the sending side.
 */
const REPLIES_BYTES = 64 * 1024;

/**
 * The longest pause before recovery takes a request over again, in recovery intervals: two minutes by default. A charge is finished
 * that soon after its bank is back, and an undecided charge costs its bank no more than one or two calls in that time.
 */
const LONGEST_PAUSE_INTERVALS = 24;

/** What {@link COMPLETE} fails with. */
const INVALID_DATETIME_FORMAT = '22007';

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
export interface Abandoned {
  identity: RequestIdentity;
  requestId: string;
}

/** The account whose turn it is, as {@link IdempotencyStore.takeOver} finds it. */
export interface Turn {
  /** The account whose turn was before; the empty text for the first turn. */
  readonly after: string;
  /** Accounts that are passed over. */
  readonly except: readonly string[];
}

/** Unfinished requests of an operation that is not resumed here. */
export interface Unresumed {
  operation: string;
  requests: number;
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
 *   ▲  ▲                    │   │  ▲                        │        sweep, or
 *   │  └────── forget ──────┘   └──┘                        │        the next claim
 *   │           claim, takeOver: once the lease has expired │
 *   └───────────────────────────────────────────────────────┘
 * ```
 *
 * `release` ends a lease at once. A request in progress is left by `complete`, and by `forget` if its intent is missing: there is no
 * sweep and no expiry. Only the holder of the lock token completes or forgets. Completed rows never change.
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
   * The replies that it reads are bounded by {@link REPLIES_BYTES}, in equal parts; a longer one is a `large-reply`.
   *
   * @param sql within a transaction or right behind its BEGIN; nothing is claimed if BEGIN fails
   * @param attempts sorted and without a key twice, so that no two transactions lock the same rows in another order
   * @returns what became of each, in order
   * @throws KeyLocked
   */
  async claim(sql: SqlClient, attempts: readonly Attempt[], wait: boolean): Promise<Claim[]> {
    const parameters = [
      attempts.map(({ identity }) => identity.accountId),
      attempts.map(({ identity }) => identity.key),
      attempts.map(({ newRequestId }) => newRequestId),
      attempts.map(({ identity }) => identity.operation),
      attempts.map(({ identity }) => identity.fingerprint),
      attempts.map(({ lockToken }) => lockToken),
      this.options.leaseSeconds,
      this.retentionSeconds,
      wait,
      Math.floor(REPLIES_BYTES / attempts.length),
    ];
    const askedAt = performance.now();
    const claim = sql.query({ name: 'idempotency_claim', text: CLAIM, values: parameters });
    const { rows } = await claim.catch((error: unknown) => {
      throw isLockTimeout(error) ? new KeyLocked() : error;
    });
    const claims = new Array<Claim>(attempts.length);
    for (const row of rows as unknown as ClaimRow[]) {
      const index = Number(row.position) - 1;
      claims[index] = claimOf(row, attempts[index]?.identity.fingerprint, askedAt);
    }
    return claims;
  }

  /**
   * Records replies. Fails when one of the keys is no longer held by its lock token, which aborts the transaction:
   * COMMIT can be sent behind it without waiting.
   *
   * @returns until when all of them live at least, in milliseconds of `performance.now()`
   * @throws FencedOff
   */
  async complete(sql: SqlClient, completions: readonly Completion[]): Promise<number> {
    const parameters = [
      completions.map(({ identity }) => identity.accountId),
      completions.map(({ identity }) => identity.key),
      completions.map(({ lockToken }) => lockToken),
      completions.map(({ reply }) => reply.status),
      completions.map(({ reply }) => JSON.stringify(reply.headers)),
      completions.map(({ reply }) => reply.body),
      completions.length,
      this.retentionSeconds,
    ];
    const askedAt = performance.now();
    const completed = sql.query({ name: 'idempotency_complete', text: COMPLETE, values: parameters });
    const { rows } = await completed.catch((error: unknown) => {
      throw sqlState(error) === INVALID_DATETIME_FORMAT ? new FencedOff() : error;
    });
    return askedAt + Number(rows[0]?.['lives_seconds']) * 1000;
  }

  /** Ends the lease of an attempt that failed, so that the next one need not wait for it to lapse. */
  async release(request: RequestIdentity, lockToken: string): Promise<void> {
    await this.run(RELEASE, [request.accountId, request.key, lockToken]);
  }

  /**
   * Takes over one request of an operation whose lease has expired. Accounts take turns: it is a request of the first account after
   * `turn.after` that has one due, by name.
   *
   * A request that was taken over before is due after a pause, which doubles each time up to {@link LONGEST_PAUSE_INTERVALS}. The
   * pause holds for this verb alone: a client's retry claims the key as soon as the lease has ended.
   *
   * @returns `undefined` if no request is due of any account after `turn.after`
   */
  async takeOver(operation: string, lockToken: string, turn: Turn): Promise<Abandoned | undefined> {
    const { leaseSeconds, recoveryIntervalMs } = this.options;
    const shortest = recoveryIntervalMs / 1000;
    const pauses = [shortest, LONGEST_PAUSE_INTERVALS * shortest];
    const { rows } = await this.run(TAKE_OVER, [
      operation,
      lockToken,
      leaseSeconds,
      turn.after,
      turn.except,
      ...pauses,
    ]);
    const [row] = rows as unknown as AbandonedRow[];
    return (
      row && {
        identity: new RequestIdentity(row.account_id, row.idempotency_key, operation, row.fingerprint),
        requestId: row.request_id,
      }
    );
  }

  /**
   * Deletes an unfinished request, so that the next request with its key is new. Only for a request that is known to have done
   * nothing; nothing is deleted if the lock token does not hold the key any more.
   */
  async forget(request: RequestIdentity, lockToken: string): Promise<void> {
    await this.run(FORGET, [request.accountId, request.key, lockToken]);
  }

  /** The operations other than `resumed` that have unfinished requests whose lease has expired, and how many. */
  async unresumed(resumed: readonly string[]): Promise<Unresumed[]> {
    const { rows } = await this.run(UNRESUMED, [resumed]);
    return rows as unknown as Unresumed[];
  }

  /**
   * Reads a reply that was too large for its claim, once the transaction of the claim has ended.
   *
   * @returns `in_progress` if the row was swept or taken over since: the next claim sees what became of it
   */
  async readReply(
    { accountId, key }: RequestIdentity,
    large: LargeReply,
  ): Promise<Extract<Claim, { kind: 'completed' | 'in_progress' }>> {
    const { status, lockToken, expiresAt } = large;
    const [row] = await this.dataSource.query<ReplyRow[]>(READ_REPLY, [accountId, key, lockToken]);
    if (!row) return { kind: 'in_progress' };
    const reply = new RecordedReply(status, row.response_headers, row.response_body);
    return { kind: 'completed', reply, lockToken, expiresAt };
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

interface ReplyRow {
  response_headers: Record<string, string>;
  response_body: string;
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
