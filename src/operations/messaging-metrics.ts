import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import {
  type Backlog,
  Consumers,
  type DeliveryOutcome,
  type MessagingEvent,
  MessagingEvents,
  Outbox,
} from '../messaging/index.js';
import { DatabaseLooks } from './looks.js';
import { Metrics } from './metrics.js';

const OUTCOMES: DeliveryOutcome[] = ['processed', 'failed', 'dead'];

/** Adds the metrics of messages to the metrics of the application. */
@Injectable()
export class MessagingMetrics implements OnApplicationBootstrap {
  private readonly published: Counter;
  private readonly delivered: Counter;

  constructor(
    private readonly metrics: Metrics,
    private readonly outbox: Outbox,
    private readonly consumers: Consumers,
    private readonly looks: DatabaseLooks,
    events: MessagingEvents,
  ) {
    const registers = [metrics.registry];
    this.published = new Counter({
      name: 'messages_published_total',
      help: 'Messages published on the bus, including repeated ones',
      registers,
    });
    this.delivered = new Counter({
      name: 'messages_delivered_total',
      help: 'Deliveries of messages to a consumer, including repeated ones, by result',
      labelNames: ['consumer', 'delivery'],
      registers,
    });
    events.subscribe((event) => this.count(event));
    this.gauges();
  }

  /** Sets every counter to 0 at the start, so that a rate over it has no gaps. */
  onApplicationBootstrap(): void {
    for (const { name: consumer } of this.consumers.all()) {
      OUTCOMES.forEach((delivery) => this.delivered.inc({ consumer, delivery }, 0));
    }
  }

  private count(event: MessagingEvent): void {
    switch (event.type) {
      case 'published':
        return this.published.inc(event.messages);
      case 'delivered':
        return this.delivered.inc({ consumer: event.consumer, delivery: event.outcome });
    }
  }

  private gauges(): void {
    // Both gauges share one query, because they are collected at the same time.
    let look: Promise<Backlog> | undefined;
    const backlog = () =>
      (look ??= this.looks
        .take(() => this.outbox.backlog())
        .catch(() => ({ oldestUnpublishedSeconds: NaN, deadLetters: NaN }))
        .finally(() => (look = undefined)));
    const registers = [this.metrics.registry];
    new Gauge({
      name: 'messages_oldest_unpublished_seconds',
      help: 'Age of the oldest message that is not published; NaN while the database is unavailable',
      registers,
      async collect() {
        this.set((await backlog()).oldestUnpublishedSeconds);
      },
    });
    new Gauge({
      name: 'messages_dead_letters',
      help: 'Messages that could not be processed; NaN while the database is unavailable',
      registers,
      async collect() {
        this.set((await backlog()).deadLetters);
      },
    });
  }
}
