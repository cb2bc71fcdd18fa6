/**
 * Returns the result of `work` if `work` settles within `ms` milliseconds.
 *
 * The timer keeps the process alive, because a shutdown that waits for a silent peer must go on to its next step. The timer ends
 * with the work.
 *
 * @param work gets a signal that aborts at the limit. Work that ignores the signal goes on, and its late result is dropped.
 * @param lateError creates the error for the limit
 * @throws the error of `work`, or the result of `lateError` at the limit
 */
export async function within<T>(
  ms: number,
  work: (limit: AbortSignal) => Promise<T>,
  lateError: () => Error = () => new Error(`No answer within ${ms} ms`),
): Promise<T> {
  const limit = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = lateError();
      // Before the abort, because work that hears the abort may throw an error of its own.
      reject(error);
      limit.abort(error);
    }, ms);
  });
  try {
    return await Promise.race([work(limit.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}
