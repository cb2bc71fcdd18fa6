/** The way in which a request with a key was answered. */
export type RequestOutcome =
  /** The request did the work and got the first reply. */
  | 'first'
  /** The reply was recorded before. */
  | 'replayed'
  /** The request waited for the reply of another attempt, and got it. */
  | 'waited'
  /** The other attempt did not finish during the wait: 409. */
  | 'in_progress'
  /** The key belongs to another request: 422. */
  | 'reused'
  /** The request failed, and no reply was recorded. */
  | 'failed';

/** Events for metrics and logs. Nothing in the module depends on them. */
export type IdempotencyEvent =
  | { type: 'answered'; outcome: RequestOutcome }
  /** One transaction has committed this many requests. */
  | { type: 'committed'; requests: number }
  /** Recovery has finished a request without its client. */
  | { type: 'recovered' }
  /** Recovery found no intent, so the request had done nothing, and recovery deleted the key. The next request with the key is new. */
  | { type: 'forgotten' }
  /** Unfinished requests that this process does not resume. They stay unfinished until another process or a retry finishes them. */
  | { type: 'unresumed'; operations: readonly { operation: string; requests: number }[] }
  /** An attempt could not complete, because another attempt had taken over its key. The work of the first one was rolled back. */
  | { type: 'fenced_off' }
  | { type: 'swept'; rows: number };
