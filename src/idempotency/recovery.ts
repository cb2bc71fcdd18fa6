import { randomUUID } from 'node:crypto';
import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { Idempotency } from './idempotency.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency.options.js';
import { Duplicate, IdempotentRequest } from './idempotent-request.js';
import type { RecordedReply } from './reply.js';
import { Worker } from './worker.js';

/** A request taken over from a holder that vanished. It is claimed: go on from what its claim committed. */
export interface AbandonedRequest {
  accountId: string;
  requestId: string;
  request: IdempotentRequest;
}

/** Finishes an abandoned request with `request.complete`, by the steps its handler would have taken. */
export type Resume = (abandoned: AbandonedRequest) => Promise<RecordedReply>;

/** Requests resumed at once: all of them within one lease, and most of the pool left to the clients. */
const BATCH_REQUESTS = 4;

/** Finishes, without their clients, the requests whose holder crashed, froze or failed. */
@Injectable()
export class Recovery extends Worker implements OnApplicationBootstrap {
  private readonly resumes = new Map<string, Resume>();

  constructor(
    private readonly idempotency: Idempotency,
    private readonly schedule: SchedulerRegistry,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {
    super();
  }

  /**
   * Says how the requests of an operation are finished. An operation that only uses `complete` needs none: it is
   * never left in progress.
   *
   * @param operation method and route, such as `POST /charges`
   */
  register(operation: string, resume: Resume): void {
    this.resumes.set(operation, resume);
  }

  onApplicationBootstrap(): void {
    this.schedule.addInterval(
      'idempotency:recovery',
      setInterval(() => void this.tick(), this.options.recoveryIntervalMs),
    );
  }

  protected async run(): Promise<number> {
    let recovered = 0;
    for (const [operation, resume] of this.resumes) {
      for (let all = true; all && !this.stopping;) {
        const results = await this.batch(operation, resume);
        const done = results.filter(Boolean).length;
        recovered += done;
        // What failed is at the end of the queue now. A gateway that is down is tried again at the next run, not at once.
        all = done === BATCH_REQUESTS;
      }
    }
    return recovered;
  }

  private async batch(operation: string, resume: Resume): Promise<boolean[]> {
    const lockToken = randomUUID();
    const abandoned = await this.idempotency.store.takeOver(operation, lockToken, BATCH_REQUESTS);
    return Promise.all(
      abandoned.map(async ({ identity, requestId }) => {
        const { accountId } = identity;
        const request = new IdempotentRequest(identity, this.idempotency, { requestId, lockToken });
        try {
          await request.settle(await resume({ accountId, requestId, request }));
          this.idempotency.events.next({ type: 'recovered' });
          return true;
        } catch (error) {
          // Finished by another, which is as good.
          if (error instanceof Duplicate) return true;
          this.logger.warn(`${operation} ${requestId} is still unfinished: ${String(error)}`);
          await request.settle(undefined, error);
          return false;
        }
      }),
    );
  }
}
