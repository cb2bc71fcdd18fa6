import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { FairShare } from '../commit/fairness.js';
import { Idempotency } from '../idempotency.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { Duplicate, KeyedRequest } from '../request/keyed-request.js';
import { Worker } from '../../postgres/worker.js';
import { type AbandonedRequest, INTENT_MISSING, type Resume, ResumeRegistry } from '../http/resumes.js';
import { type Abandoned, type RequestName, type Turn, UpkeepStore } from './upkeep.store.js';

/**
 * Maximum number of requests of an operation that are resumed at once. One account may use half of it, so that requests which wait for a slow
 * bank leave room for other accounts. A request that waits for a bank holds no connection.
 */
const MAX_RESUMING = 16;
/** Milliseconds between two reports of requests that are not resumed here: ten minutes, because an operator has to solve the problem. */
const UNRESUMED_INTERVAL_MS = 600_000;
/** A name that sorts before the name of every account. */
const FIRST_TURN = '';

/** An abandoned request that recovery itself finishes, releases or forgets. */
interface ResumableRequest extends AbandonedRequest {
  request: KeyedRequest;
}

/** Finishes, without their clients, the requests whose holder crashed, froze or failed. */
@Injectable()
export class Recovery extends Worker implements OnApplicationBootstrap {
  private nextReportAt = 0;

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

  /**
   * Finishes one request whose outcome was decided elsewhere, for example by a gateway that reports it, or by a person. Any attempt that holds the
   * lease is fenced off, and its client gets the reply that is recorded here. So `resume` must not depend on what such an attempt still does.
   *
   * @param resume completes the request
   * @returns whether the request was unfinished. If not, `resume` is not called
   * @throws every error of `resume`; the lease ends then
   */
  async finishOne(operation: string, name: RequestName, resume: Resume): Promise<boolean> {
    const lockToken = randomUUID();
    const abandoned = await this.store.takeOverOne(operation, lockToken, name);
    if (!abandoned) return false;
    const resumable = this.resumable(abandoned, lockToken);
    try {
      await resume(resumable);
      this.idempotency.events.next({ type: 'recovered' });
    } catch (error) {
      // Another attempt has finished the request since.
      if (error instanceof Duplicate) return false;
      await resumable.request.release(error);
      throw error;
    }
    return true;
  }

  protected async run(): Promise<number> {
    // A failed report must not stop the recovery of other requests.
    await this.reportUnresumed().catch((error: unknown) =>
      this.logger.warn(`Could not look for requests that are not resumed here: ${String(error)}`),
    );
    const recovered = await Promise.all(
      [...this.resumes.all].map(([operation, { resume }]) => this.recover(operation, resume)),
    );
    return recovered.reduce((sum, count) => sum + count, 0);
  }

  /** Resumes the due requests of an operation. Accounts take turns. Ends when no request is due and none is being resumed. */
  private async recover(operation: string, resume: Resume): Promise<number> {
    const share = new FairShare(MAX_RESUMING);
    const underWay = new Set<Promise<void>>();
    let recovered = 0;
    const start = (abandoned: ResumableRequest) => {
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
        // Read before the search, because a request that ends during the search makes room for other requests of its account.
        const isIdle = underWay.size === 0;
        const turn = { after, except: share.exhausted };
        const abandoned = share.isUsedUp ? undefined : await this.takeOverNext(operation, turn);
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
  private async takeOverNext(operation: string, turn: Turn): Promise<ResumableRequest | undefined> {
    const { store } = this;
    const lockToken = randomUUID();
    const abandoned =
      (await store.takeOver(operation, lockToken, turn)) ??
      (turn.after === FIRST_TURN
        ? undefined
        : await store.takeOver(operation, lockToken, { ...turn, after: FIRST_TURN }));
    return abandoned && this.resumable(abandoned, lockToken);
  }

  private resumable({ identity, requestId }: Abandoned, lockToken: string): ResumableRequest {
    const request = new KeyedRequest(identity, this.idempotency, { requestId, lockToken });
    return { accountId: identity.accountId, requestId, request };
  }

  /** Returns whether the request is finished. Never throws, because recovery takes the request over again after a pause. */
  private async finish(operation: string, abandoned: ResumableRequest, resume: Resume): Promise<boolean> {
    const { request, requestId } = abandoned;
    try {
      const resumed = await resume(abandoned);
      if (resumed === INTENT_MISSING) {
        await request.forget();
        this.logger.warn(`${operation} ${requestId} had no intent, so its key was deleted`);
        this.idempotency.events.next({ type: 'forgotten' });
      } else if (request.recorded && resumed === request.recorded) {
        this.idempotency.events.next({ type: 'recovered' });
      } else throw new Error('its resume did not return the reply of request.complete()');
      return true;
    } catch (error) {
      // Another attempt has finished the request.
      if (error instanceof Duplicate) return true;
      this.logger.warn(`${operation} ${requestId} is still unfinished: ${String(error)}`);
      await request.release(error);
      return false;
    }
  }

  /** Waits until one of the resumed requests ends or other requests may have become due. Returns at once if none is being resumed. */
  private async untilOneEnds(underWay: ReadonlySet<Promise<void>>): Promise<void> {
    if (underWay.size === 0) return;
    const isOver = new AbortController();
    const interval = pause(this.options.recoveryIntervalMs, undefined, { signal: isOver.signal, ref: false });
    await Promise.race([...underWay, interval]).finally(() => isOver.abort());
  }

  /**
   * Reports unfinished requests of operations that this process does not resume. A process with another version may resume them, and a retry of
   * the client always continues its request.
   */
  private async reportUnresumed(): Promise<void> {
    if (performance.now() < this.nextReportAt) return;
    const operations = await this.store.unresumed([...this.resumes.all.keys()]);
    this.nextReportAt = performance.now() + UNRESUMED_INTERVAL_MS;
    this.idempotency.events.next({ type: 'unresumed', operations });
    for (const { operation, requests } of operations) {
      this.logger.warn(
        `${operation}: ${requests} requests are unfinished and wait for retries of their clients, because the operation has no resume`,
      );
    }
  }
}
