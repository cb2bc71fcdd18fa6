import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { FairShare } from '../commit/fair-share.js';
import { Idempotency } from '../idempotency.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { Duplicate, KeyedRequest } from '../request/keyed-request.js';
import { Worker } from '../../postgres/worker.js';
import { INTENT_MISSING, type Resume, ResumeRegistry } from './resumes.js';
import { type Turn, UpkeepStore } from './upkeep.store.js';

/**
 * Requests of an operation that are resumed at once. An account has half of them at most, so that requests which all wait for a slow bank leave
 * room for those of other accounts. While they wait they hold no connection.
 */
const MAX_RESUMING = 16;
/** Between two looks for requests that are not resumed here. They need an operator, who need not be told more often. */
const UNRESUMED_INTERVAL_MS = 600_000;
/** Before the name of every account. */
const FIRST_TURN = '';

/** A request that recovery has taken over. */
interface TakenOver {
  accountId: string;
  requestId: string;
  request: KeyedRequest;
}

/** Finishes, without their clients, the requests whose holder crashed, froze or failed. */
@Injectable()
export class Recovery extends Worker implements OnApplicationBootstrap {
  private nextLookForUnresumed = 0;

  constructor(
    private readonly idempotency: Idempotency,
    private readonly store: UpkeepStore,
    private readonly resumes: ResumeRegistry,
    private readonly schedule: SchedulerRegistry,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {
    super();
  }

  onApplicationBootstrap(): void {
    this.schedule.addInterval(
      'idempotency:recovery',
      setInterval(() => void this.tick(), this.options.recoveryIntervalMs),
    );
  }

  protected async run(): Promise<number> {
    // What is not resumed here must not hold up what is.
    await this.lookForUnresumed().catch((error: unknown) =>
      this.logger.warn(`Not looked for others: ${String(error)}`),
    );
    const recovered = await Promise.all(
      [...this.resumes.all].map(([operation, resume]) => this.recover(operation, resume)),
    );
    return recovered.reduce((sum, count) => sum + count, 0);
  }

  /** Resumes requests of an operation, the accounts in turn, until none is due and none is under way. */
  private async recover(operation: string, resume: Resume): Promise<number> {
    const share = new FairShare(MAX_RESUMING);
    const underWay = new Set<Promise<void>>();
    let recovered = 0;
    const start = (abandoned: TakenOver) => {
      const giveBack = share.take(abandoned.accountId);
      const ended = this.finish(operation, abandoned, resume).then((isFinished) => {
        recovered += Number(isFinished);
        giveBack();
        underWay.delete(ended);
      });
      underWay.add(ended);
    };
    try {
      let after = FIRST_TURN;
      let isDone = false;
      while (!isDone && !this.stopping) {
        // Asked before the look: what ends during it may leave room for more of its account.
        const isIdle = underWay.size === 0;
        const turn = { after, except: share.exhausted };
        const abandoned = share.isUsedUp ? undefined : await this.takeOver(operation, turn);
        if (abandoned) {
          start(abandoned);
          after = abandoned.accountId;
        } else await this.untilOneEnds(underWay);
        isDone = isIdle && !abandoned;
      }
    } finally {
      await Promise.all(underWay);
    }
    return recovered;
  }

  /** Takes over the request whose turn it is. After the last account, the first one has its turn. */
  private async takeOver(operation: string, turn: Turn): Promise<TakenOver | undefined> {
    const { store } = this;
    const lockToken = randomUUID();
    const abandoned =
      (await store.takeOver(operation, lockToken, turn)) ??
      (turn.after === FIRST_TURN
        ? undefined
        : await store.takeOver(operation, lockToken, { ...turn, after: FIRST_TURN }));
    if (!abandoned) return undefined;
    const { identity, requestId } = abandoned;
    const request = new KeyedRequest(identity, this.idempotency, { requestId, lockToken });
    return { accountId: identity.accountId, requestId, request };
  }

  /** Returns whether the request is finished. Fails never: it is taken over again after a pause. */
  private async finish(operation: string, abandoned: TakenOver, resume: Resume): Promise<boolean> {
    const { request, requestId } = abandoned;
    try {
      const resumed = await resume(abandoned);
      if (resumed === INTENT_MISSING) {
        await request.forget();
        this.logger.warn(`${operation} ${requestId} had no intent: its key is forgotten`);
        this.idempotency.events.next({ type: 'forgotten' });
      } else {
        await request.finish(resumed);
        this.idempotency.events.next({ type: 'recovered' });
      }
      return true;
    } catch (error) {
      // Another attempt has finished it.
      if (error instanceof Duplicate) return true;
      this.logger.warn(`${operation} ${requestId} is still unfinished: ${String(error)}`);
      await request.finish(undefined, error);
      return false;
    }
  }

  /** Waits for one of those under way, or until other requests may have become due. Does not wait if none is under way. */
  private async untilOneEnds(underWay: ReadonlySet<Promise<void>>): Promise<void> {
    if (underWay.size === 0) return;
    const isOver = new AbortController();
    const interval = pause(this.options.recoveryIntervalMs, undefined, { signal: isOver.signal, ref: false });
    await Promise.race([...underWay, interval]).finally(() => isOver.abort());
  }

  /** Reports operations that this process does not resume. Another version may, and a retry of the client always does. */
  private async lookForUnresumed(): Promise<void> {
    if (performance.now() < this.nextLookForUnresumed) return;
    const operations = await this.store.unresumed([...this.resumes.all.keys()]);
    this.nextLookForUnresumed = performance.now() + UNRESUMED_INTERVAL_MS;
    this.idempotency.events.next({ type: 'unresumed', operations });
    for (const { operation, requests } of operations) {
      this.logger.warn(
        `${operation}: ${requests} requests are unfinished and wait for their clients: it has no resume`,
      );
    }
  }
}
