import { Inject, Injectable } from '@nestjs/common';
import { Subject } from 'rxjs';
import { DataSource } from 'typeorm';
import { inTransaction, type Transaction } from '../../postgres/transaction.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import type { Reply } from '../request/reply.js';
import { IdempotencyStore } from '../store/idempotency.store.js';
import { type CommitResult, Committer } from './committer.js';
import { FairTurns } from './fairness.js';
import { expectSameRequest, isClaiming, isCompleting, itemOf, runPhase, serialise, type Unit } from './unit.js';

/** Maximum number of transactions at once: 8 of the 10 connections of a pool, or half of that if `GroupCommit` needs connections as well. */
const TRANSACTIONS = 8;

/**
 * The plain committer: one request, one transaction, one statement after the other.
 *
 * The invariant: the key, the effect and the reply of a request are committed together. If anything fails, none of them is.
 */
@Injectable()
export class OneByOne extends Committer {
  readonly sizes = new Subject<number>();
  private readonly turns: FairTurns;

  constructor(
    private readonly dataSource: DataSource,
    private readonly store: IdempotencyStore,
    @Inject(IDEMPOTENCY_OPTIONS) { maxGroupSize }: IdempotencyOptions,
  ) {
    super();
    this.turns = new FairTurns(maxGroupSize === 1 ? TRANSACTIONS : TRANSACTIONS / 2);
  }

  async commit(unit: Unit): Promise<CommitResult> {
    const end = await this.turns.begin(unit.identity.accountId);
    try {
      const result = await inTransaction(this.dataSource, (tx) => this.run(tx, unit));
      this.sizes.next(1);
      return result;
    } finally {
      end();
    }
  }

  private async run(tx: Transaction, unit: Unit): Promise<CommitResult> {
    let requestId: string;
    if (isClaiming(unit)) {
      const claim = await this.store.claim(tx.sql, unit);
      if (claim.kind !== 'claimed') return claim;
      expectSameRequest(unit, claim);
      requestId = claim.requestId;
    } else requestId = unit.requestId;
    const [result] = await runPhase(tx, unit.phase, [itemOf(unit, requestId)]);
    if (unit.kind === 'claim') return { kind: 'committed', requestId, result };
    const reply = serialise(result as Reply);
    if (!isCompleting(unit)) return { kind: 'committed', requestId, result: reply };
    return { kind: 'recorded', requestId, reply: await this.store.complete(tx.sql, { ...unit, reply }) };
  }
}
