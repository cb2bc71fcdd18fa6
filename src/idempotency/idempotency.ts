import { Inject, Injectable } from '@nestjs/common';
import { Subject } from 'rxjs';
import type { IdempotencyEvent } from './upkeep/idempotency.events.js';
import { GroupCommit } from './commit/group-commit.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency.options.js';
import { IdempotencyStore } from './store/idempotency.store.js';
import { InFlight } from './commit/in-flight.js';
import { ReplyCache } from './commit/reply-cache.js';

/** What the requests of this process share. `events` tells the application what happens, for its metrics and logs. */
@Injectable()
export class Idempotency {
  readonly events = new Subject<IdempotencyEvent>();

  constructor(
    readonly store: IdempotencyStore,
    readonly inFlight: InFlight,
    readonly replies: ReplyCache,
    readonly commits: GroupCommit,
    @Inject(IDEMPOTENCY_OPTIONS) readonly options: IdempotencyOptions,
  ) {
    commits.sizes.subscribe((requests) => this.events.next({ type: 'committed', requests }));
  }
}
