import { ServiceUnavailableException } from '@nestjs/common';
import { Column, Entity, type EntityManager, PrimaryGeneratedColumn } from 'typeorm';
import type { IdempotentRequest, Phase, PhaseItem, Reply } from '../../src/idempotency/index.js';

/** The body of the toy's requests: the name that the effect is to have. */
export interface Wish {
  name: string;
}

/** What the handler of an idempotent operation does. */
export type Handler = (request: IdempotentRequest, wish: Wish) => Promise<unknown>;

// No unique constraint: an effect that happens twice is two rows.
@Entity('effects')
export class Effect {
  @PrimaryGeneratedColumn('identity')
  id!: number;

  @Column({ type: 'text' })
  account_id!: string;

  @Column({ type: 'uuid' })
  request_id!: string;

  @Column({ type: 'text' })
  name!: string;
}

/** A first commit: the intent. Repeatable, as a phase of `claim` must be. */
export const intend: Phase<Wish, string> = async (tx, items) => {
  for (const { accountId, requestId, input } of items) {
    await tx.query('INSERT INTO intents VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [
      accountId,
      requestId,
      input.name,
    ]);
  }
  return items.map(({ requestId }) => requestId);
};

/** The effect, and its reply. Its id is new whenever it is run, so that a reply tells which run it came from. */
export const place: Phase<Wish, Reply> = async (tx, items) => {
  const effects = await tx.save(
    Effect,
    items.map(({ accountId, requestId, input }) => ({
      account_id: accountId,
      request_id: requestId,
      name: input.name,
    })),
  );
  return effects.map(({ id, name }) => ({ status: 201, body: { id, name } }));
};

/** The effect, after something of the test's own in the same transaction. */
export const placeAfter =
  (first: (tx: EntityManager, items: readonly PhaseItem<Wish>[]) => unknown): Phase<Wish, Reply> =>
  async (tx, items) => {
    await first(tx, items);
    return place(tx, items);
  };

/** The effect, with a reply of the test's own. */
export const placeAndReply =
  (reply: Reply): Phase<Wish, Reply> =>
  async (tx, items) =>
    (await place(tx, items)).map(() => reply);

export const completing =
  (phase: Phase<Wish, Reply>): Handler =>
  (request, wish) =>
    request.complete(phase, wish);

export const oneCommit = completing(place);

/** @param between what is done while nothing is locked and no transaction is open */
export const twoCommits =
  (between: () => unknown = () => undefined): Handler =>
  async (request, wish) => {
    await request.claim(intend, wish);
    await between();
    return request.complete(place, wish);
  };

/** A handler that fails while nothing is locked, as when the other side does not answer. */
export const failing = twoCommits(() => {
  throw new ServiceUnavailableException('no answer');
});
