import type { EntityManager } from 'typeorm';
import type { Phase, PhaseItem } from './phase.js';

/**
 * Makes a {@link Phase} of a function that handles one request. Start with this form, because `work` reads like the body of any other
 * TypeORM transaction.
 *
 * The list form, {@link Phase}, is the optimisation: requests that share a transaction then share its statements as well. In the form for
 * one request they share only the commit, because `work` runs for one request after the other.
 *
 * The rules of a phase hold for `work`: it may run more than once, it is committed at most once, and it uses `tx` only.
 *
 * @param work returns the reply that is recorded, or in a phase of `claim` the result of `claim`
 */
export const perRequest =
  <Input, Result>(work: (tx: EntityManager, item: PhaseItem<Input>) => Promise<Result>): Phase<Input, Result> =>
  async (tx, items) => {
    const results: Result[] = [];
    // One after the other, because all items use one connection.
    for (const item of items) results.push(await work(tx, item));
    return results;
  };
