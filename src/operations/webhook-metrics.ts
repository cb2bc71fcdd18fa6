import { Injectable } from '@nestjs/common';
import { Counter } from 'prom-client';
import { OUTCOMES } from '../charges/webhooks/outcome.js';
import { WebhookEvents } from '../charges/webhooks/webhook-events.js';
import { Metrics } from './metrics.js';

/** Counts the events of Stripe by what became of them. */
@Injectable()
export class WebhookMetrics {
  constructor(events: WebhookEvents, { registry }: Metrics) {
    const counter = new Counter({
      name: 'stripe_events_total',
      help: 'Signed events of Stripe, by what became of them; contradicted is counted before the commit',
      labelNames: ['outcome'],
      registers: [registry],
    });
    // Every counter starts at 0, so that a rate over it has no gaps.
    OUTCOMES.forEach((outcome) => counter.inc({ outcome }, 0));
    events.subscribe((outcome) => counter.inc({ outcome }));
  }
}
