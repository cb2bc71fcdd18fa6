/** How one request with a key was answered. */
export type RequestOutcome =
  /** It did the work. */
  | 'first'
  /** The reply was there already. */
  | 'replayed'
  /** It waited for the reply of another. */
  | 'waited'
  /** It waited in vain: 409. */
  | 'in_progress'
  /** The key stands for another request: 422. */
  | 'reused'
  /** It failed, and nothing was recorded. */
  | 'failed';

/** What the module tells its observers: for metrics and logs, never for decisions. */
export type IdempotencyEvent =
  | { type: 'answered'; outcome: RequestOutcome }
  /** This many requests were committed together. */
  | { type: 'committed'; requests: number }
  /** A request whose holder had vanished was finished without its client. */
  | { type: 'recovered' }
  /** Recovery found no intent, so nothing had happened, and deleted the key: its next request is new. */
  | { type: 'forgotten' }
  /** The operations that have unfinished requests which this process does not resume: they wait for their clients. */
  | { type: 'unresumed'; operations: readonly { operation: string; requests: number }[] }
  /** A holder found that another had taken over: its work was rolled back. */
  | { type: 'fenced_off' }
  | { type: 'swept'; rows: number };
