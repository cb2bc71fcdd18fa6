import { Injectable } from '@nestjs/common';
import { Counter } from 'prom-client';
import { Metrics } from '../../operations/metrics.js';
import { type Outcome, OUTCOMES } from './outcome.js';

/** Counts the events of Stripe by what became of them. */
@Injectable()
export class WebhookMetrics {
  private readonly events: Counter;

  constructor({ registry }: Metrics) {
    this.events = new Counter({
      name: 'stripe_events_total',
      help: 'Signed events of Stripe that were answered with 200, by what became of them',
      labelNames: ['outcome'],
      registers: [registry],
    });
    // Every counter starts at 0, so that a rate over it has no gaps.
    OUTCOMES.forEach((outcome) => this.events.inc({ outcome }, 0));
  }

  count(outcome: Outcome): void {
    this.events.inc({ outcome });
  }
}
