import { Injectable } from '@nestjs/common';
import { within } from '../timing/time-limit.js';

/** Maximum age of a page. Orchestrators and Prometheus request it every few seconds. */
const KEPT_MS = 1_000;
/** A database that takes longer for a query of this size counts as unavailable. */
const LOOK_WITHIN_MS = 2_000;

/**
 * Caches the answer of `look` for {@link KEPT_MS}. Calls that arrive while `look` runs share its answer.
 *
 * Public pages need no API key, so the number of their requests must not decide how much work they cause.
 */
export function kept<T>(look: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  let keptUntilMs = 0;
  return () => {
    if (answer && performance.now() < keptUntilMs) return answer;
    keptUntilMs = Infinity;
    answer = look();
    const keep = () => (keptUntilMs = performance.now() + KEPT_MS);
    answer.then(keep, keep);
    return answer;
  };
}

/** Runs the database queries of public pages one after another. */
@Injectable()
export class DatabaseLooks {
  private last: Promise<unknown> = Promise.resolve();

  /**
   * Runs `query` after all queries before it have ended. Therefore all public pages together hold at most one of the connections that the
   * requests of accounts need.
   *
   * @throws Error after 2 s without an answer. A query that has not started by then does not run.
   */
  take<T>(query: () => Promise<T>): Promise<T> {
    const inTurn = (limit: AbortSignal) => {
      const taken = this.last.then(() => {
        limit.throwIfAborted();
        return query();
      });
      this.last = taken.catch(() => undefined);
      return taken;
    };
    return within(LOOK_WITHIN_MS, inTurn, () => new Error('The database does not answer'));
  }
}
