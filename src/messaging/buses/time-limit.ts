/**
 * Waits for `work` no longer than `ms` milliseconds.
 *
 * @throws Error that says so; what the work comes to after that is nobody's concern
 */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${ms} ms`)), ms);
  });
  work.catch(() => undefined);
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/**
 * Milliseconds a broker has to take a batch. The relay holds row locks meanwhile, and PostgreSQL ends a transaction that is idle
 * for 5 s.
 */
export const PUBLISH_TIMEOUT_MS = 3_000;

/** Milliseconds that a shutdown waits for a broker's farewell: one that is away sends none. */
export const CLOSE_TIMEOUT_MS = 2_000;
