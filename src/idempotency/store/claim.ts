import type { RecordedReply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';

/** An attempt to take a key. */
export interface Attempt {
  readonly identity: RequestIdentity;
  readonly lockToken: string;
  /** The request id, if the request turns out to be new. */
  readonly newRequestId: string;
  /**
   * Whether the answer to a COMMIT of this request was lost. Then the attempt waits for that commit to end, instead of finding the key
   * in progress.
   */
  readonly isInDoubt: boolean;
}

/** The reply with which an attempt completes its request. Every duplicate gets this reply from then on. */
export interface Completion {
  readonly identity: RequestIdentity;
  readonly lockToken: string;
  readonly reply: RecordedReply;
}

/** The key belongs to this attempt until the lease expires. `requestId` is the same at every retry of one request. */
export interface Granted {
  kind: 'claimed';
  requestId: string;
}

/** The result of an attempt to take a key. */
export type Claim =
  | Granted
  /** The reply is recorded. `lockToken` names the attempt that recorded it. */
  | { kind: 'completed'; reply: RecordedReply; lockToken: string }
  /** Another attempt holds the lease, or another transaction is writing the key. A later attempt may find another state. */
  | { kind: 'in_progress' }
  /** The key belongs to another request. */
  | { kind: 'reused' };
