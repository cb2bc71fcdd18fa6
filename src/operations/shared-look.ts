/** How long an answer may be shared. Probes and scrapers ask every few seconds, so they do not notice. */
const KEPT_MS = 1_000;

/**
 * Shares one look between all callers that ask while it is under way, and for a second after it has ended.
 *
 * The invariant: a page that needs no API key costs the database and the event loop a bounded amount, however many
 * connections ask for it. A failure is shared like an answer, because a database that is away must not be asked more often.
 */
export function sharedLook<T>(look: () => Promise<T>): () => Promise<T> {
  let shared: Promise<T> | undefined;
  return () =>
    (shared ??= look().finally(() => {
      setTimeout(() => (shared = undefined), KEPT_MS).unref();
    }));
}
