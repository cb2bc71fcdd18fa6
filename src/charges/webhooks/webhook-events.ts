import { Injectable } from '@nestjs/common';
import { Subject } from 'rxjs';
import type { Outcome } from './outcome.js';

/** Emits what became of each event of Stripe, for metrics. Nothing depends on it. */
@Injectable()
export class WebhookEvents extends Subject<Outcome> {}
