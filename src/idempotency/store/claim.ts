import { RecordedReply } from '../request/reply.js';

/** What became of an attempt to claim a key. */
export type Claim =
  /** The key is ours until the lease lapses. `requestId` is the same at every retry of one request. */
  | { kind: 'claimed'; requestId: string }
  /**
   * The reply is recorded. `lockToken` tells who recorded it, `expiresAt` until when it lives at least, in milliseconds
   * of `performance.now()`.
   */
  | { kind: 'completed'; reply: RecordedReply; lockToken: string; expiresAt: number }
  /** The reply is recorded, but too large to be read while locks are held. `IdempotencyStore.readReply` reads it. */
  | LargeReply
  /** Another holder's lease is running, or the key is being written elsewhere: the next look may see more. */
  | { kind: 'in_progress' }
  /** The key stands for another request. */
  | { kind: 'reused' };

/** A recorded reply that is still to be read, with what a claim has seen of it. */
export interface LargeReply {
  kind: 'large-reply';
  status: number;
  lockToken: string;
  expiresAt: number;
}

/** A row that the statement CLAIM returns. */
export interface ClaimRow {
  position: string;
  /** Of a key that was claimed. */
  request_id: string | null;
  /** It could be taken when it was read. */
  claimable: boolean;
  held_fingerprint: Buffer | null;
  held_token: string | null;
  response_status: number | null;
  /** Headers and body are missing while the request is in progress, and if they are too large. */
  response_headers: Record<string, string> | null;
  response_body: string | null;
  lives_seconds: number | null;
}

/**
 * Reads a row of CLAIM.
 *
 * @param fingerprint of the request that wants the key
 * @param askedAt when CLAIM was sent, in milliseconds of `performance.now()`
 */
export function claimOf(row: ClaimRow, fingerprint: Buffer | undefined, askedAt: number): Claim {
  if (row.request_id !== null) return { kind: 'claimed', requestId: row.request_id };
  // Another is writing it, or was faster, so what was read is out of date.
  if (row.claimable) return { kind: 'in_progress' };
  if (!fingerprint || !row.held_fingerprint?.equals(fingerprint)) return { kind: 'reused' };
  const { held_token: lockToken, response_status: status, response_headers, response_body, lives_seconds } = row;
  if (!lockToken || status === null) return { kind: 'in_progress' };
  const expiresAt = askedAt + Number(lives_seconds) * 1000;
  if (!response_headers || response_body === null) return { kind: 'large-reply', status, lockToken, expiresAt };
  return { kind: 'completed', reply: new RecordedReply(status, response_headers, response_body), lockToken, expiresAt };
}
