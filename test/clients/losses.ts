/** The damage to one attempt of a client. The service receives the request every time. */
export type Damage =
  /** The service answers, and then the connection breaks instead of carrying the reply. */
  | 'lost'
  /** The connection ends within the body of the reply. */
  | 'half'
  /** The connection breaks as soon as the request has passed. */
  | 'broken'
  /** The client gets no answer, and the connection stays open. */
  | 'silent'
  /** The request arrives twice while the bank does not answer, so the client gets the 409 of the duplicate. Then the bank answers. */
  | 'doubled'
  /** A proxy answers with 502 instead of passing the reply on, in JSON that knows nothing of this service. */
  | 'replaced';

/** A way in which a client does not learn what became of its charge. */
export interface Loss {
  title: string;
  /** The damage to the first attempts. Later attempts pass. */
  damages: readonly Damage[];
  /** The card, which decides how the bank behaves. */
  source: string;
}

export const LOSSES: readonly Loss[] = [
  { title: 'reply lost twice', damages: ['lost', 'lost'], source: 'tok_visa' },
  { title: 'body cut in half', damages: ['half'], source: 'tok_visa' },
  { title: 'broken after the request', damages: ['broken'], source: 'tok_visa' },
  { title: '409 while the bank is slow', damages: ['doubled'], source: 'tok_slow' },
  { title: '504', damages: [], source: 'tok_timeout' },
  { title: '502 of a proxy', damages: ['replaced'], source: 'tok_visa' },
  { title: 'no answer', damages: ['silent'], source: 'tok_visa' },
];

/**
 * Settings of the service under which each loss happens, also on a busy machine. A duplicate waits much longer than a charge takes, and much shorter
 * than the bank may take.
 */
export const SETTINGS = {
  IDEMPOTENCY_WAIT_MS: '3000',
  GATEWAY_TIMEOUT_MS: '8000',
  IDEMPOTENCY_LEASE_SECONDS: '20',
};

/** How long a client waits for one answer: much longer than the service needs for a 504, so that only silence ends the wait. */
export const CLIENT_TIMEOUT_MS = 20_000;
