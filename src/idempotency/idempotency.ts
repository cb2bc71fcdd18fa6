import { Inject, Injectable, Optional } from '@nestjs/common';
import { Subject } from 'rxjs';
import { Committer } from './commit/committer.js';
import { InFlight } from './commit/in-flight.js';
import { ReplyCache } from './commit/reply-cache.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency.options.js';
import { IdempotencyStore } from './store/idempotency.store.js';
import type { IdempotencyEvent } from './upkeep/idempotency.events.js';
import { ResumeRegistry } from './http/resumes.js';

/** The services that all requests of a process share. An application subscribes to `events` for its metrics and logs. */
@Injectable()
export class Idempotency {
  readonly events = new Subject<IdempotencyEvent>();

  constructor(
    readonly store: IdempotencyStore,
    readonly inFlight: InFlight,
    readonly committer: Committer,
    readonly resumes: ResumeRegistry,
    @Inject(IDEMPOTENCY_OPTIONS) readonly options: IdempotencyOptions,
    /** Missing if the cache has no memory. */
    @Optional() readonly replies?: ReplyCache,
  ) {
    committer.sizes.subscribe((requests) => this.events.next({ type: 'committed', requests }));
  }
}
