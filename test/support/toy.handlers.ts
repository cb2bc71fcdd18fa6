import { ServiceUnavailableException } from '@nestjs/common';
import { Column, Entity, type EntityManager, PrimaryGeneratedColumn } from 'typeorm';
import type { IdempotentRequest, Phase, PhaseItem, Reply } from '../../src/idempotency/index.js';

/** The body of a request to the toy: the name of the effect that the request wants. */
export interface Wish {
  name: string;
}

/** The handler of an idempotent operation. */
export type Handler = (request: IdempotentRequest, wish: Wish) => Promise<unknown>;

// The table has no unique constraint, so an effect that happens twice is visible as two rows.
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

/** The phase of the first commit: stores the intents. It can run again for the same request, as every phase of `claim` must. */
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

/** The phase of the last commit: stores the effects. Each run takes a new id, so that a reply shows which run it came from. */
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

/** Like `place`, but runs `first` before it in the same transaction. */
export const placeAfter =
  (first: (tx: EntityManager, items: readonly PhaseItem<Wish>[]) => unknown): Phase<Wish, Reply> =>
  async (tx, items) => {
    await first(tx, items);
    return place(tx, items);
  };

/** Like `place`, but with this reply. */
export const placeAndReply =
  (reply: Reply): Phase<Wish, Reply> =>
  async (tx, items) =>
    (await place(tx, items)).map(() => reply);

export const completing =
  (phase: Phase<Wish, Reply>): Handler =>
  (request, wish) =>
    request.complete(phase, wish);

export const oneCommit = completing(place);

/** A handler of two commits. @param between runs between them, while nothing is locked and no transaction is open */
export const twoCommits =
  (between: () => unknown = () => undefined): Handler =>
  async (request, wish) => {
    await request.claim(intend, wish);
    await between();
    return request.complete(place, wish);
  };

/** A handler that fails between its two commits, as if an external service did not answer. */
export const failing = twoCommits(() => {
  throw new ServiceUnavailableException('no answer');
});
