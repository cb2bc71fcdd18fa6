import { Injectable } from '@nestjs/common';
import { within } from '../timing/time-limit.js';

/** How long a page may be old. Orchestrators and Prometheus ask every few seconds. */
const KEPT_MS = 1_000;
/** A database that takes longer to answer a question of this size does not answer. */
const LOOK_WITHIN_MS = 2_000;

/**
 * Public pages need no API key, so the number of their requests must not decide how much work they cause: `look` runs once
 * for all who ask while it runs, and its answer is kept for {@link KEPT_MS} after that.
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

/** The turns in which public pages ask the database. */
@Injectable()
export class DatabaseLooks {
  private last: Promise<unknown> = Promise.resolve();

  /**
   * Runs `query` once all queries before it have ended. All public pages together therefore hold at most one of the connections
   * that customers need.
   *
   * @throws Error after 2 s without an answer. A query that had no turn by then does not run.
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
