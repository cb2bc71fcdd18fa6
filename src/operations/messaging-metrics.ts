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

/** What there is to know of messages, among the metrics of the application. */
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
      help: 'Messages put on the bus, some of them more than once',
      registers,
    });
    this.delivered = new Counter({
      name: 'messages_delivered_total',
      help: 'Messages that came to a consumer, for the first time or again, by what came of it',
      labelNames: ['consumer', 'delivery'],
      registers,
    });
    events.subscribe((event) => this.count(event));
    this.gauges();
  }

  /** Known from the start, so that a rate over them has no gaps. */
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
    // One look for both, which are collected at once.
    let look: Promise<Backlog> | undefined;
    const backlog = () =>
      (look ??= this.looks
        .take(() => this.outbox.backlog())
        .catch(() => ({ oldestUnpublishedSeconds: NaN, deadLetters: NaN }))
        .finally(() => (look = undefined)));
    const registers = [this.metrics.registry];
    new Gauge({
      name: 'messages_oldest_unpublished_seconds',
      help: 'Age of the oldest message that is not delivered; NaN while the database is away',
      registers,
      async collect() {
        this.set((await backlog()).oldestUnpublishedSeconds);
      },
    });
    new Gauge({
      name: 'messages_dead_letters',
      help: 'Messages that could not be processed; NaN while the database is away',
      registers,
      async collect() {
        this.set((await backlog()).deadLetters);
      },
    });
  }
}
