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
  /** The request arrives twice, and the client gets the answer that is ready first, which is the 409 of the duplicate. */
  | 'doubled';

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
  { title: 'no answer', damages: ['silent'], source: 'tok_visa' },
];

/**
 * Settings of the service under which each loss happens. `tok_slow` takes 2 s: longer than a duplicate waits, so it gets a 409, and shorter than
 * the bank may take, also on a busy machine.
 */
export const SETTINGS = {
  IDEMPOTENCY_WAIT_MS: '300',
  GATEWAY_TIMEOUT_MS: '4000',
  IDEMPOTENCY_LEASE_SECONDS: '10',
};

/** How long a client waits for one answer: longer than the service needs for a 504. */
export const CLIENT_TIMEOUT_MS = 6_000;
