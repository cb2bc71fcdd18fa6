import { Controller, Get, Header, Injectable } from '@nestjs/common';
import { ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyInstance } from 'fastify';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { DataSource } from 'typeorm';
import { Public } from '../http/public.decorator.js';
import { Idempotency, type IdempotencyEvent, UpkeepStore, type RequestOutcome } from '../idempotency/index.js';
import { DatabaseLooks, kept } from './looks.js';

/** The counts that the pool of `pg` reports. */
interface PoolCounts {
  totalCount: number;
  idleCount: number;
  waitingCount: number;
}

const OUTCOMES: RequestOutcome[] = ['first', 'replayed', 'waited', 'in_progress', 'reused', 'failed'];

/** The Prometheus metrics of one application. */
@Injectable()
export class Metrics {
  readonly registry = new Registry();
  /** Renders the page, at most once per second. */
  readonly page = kept(() => this.registry.metrics());
  private readonly requests = this.counter(
    'idempotency_requests_total',
    'Requests with an idempotency key, by the kind of their answer',
    ['outcome'],
  );
  private readonly recovered = this.counter('idempotency_recovered_total', 'Requests finished without their client');
  private readonly forgotten = this.counter(
    'idempotency_forgotten_total',
    'Unfinished keys deleted because their request had no effect',
  );
  private readonly unresumed = new Gauge({
    name: 'idempotency_unresumed_requests',
    help: 'Unfinished requests of operations that this process cannot resume, counted every ten minutes',
    labelNames: ['operation'],
    registers: [this.registry],
  });
  private readonly fencedOff = this.counter(
    'idempotency_fenced_off_total',
    'Attempts that lost their key to another attempt before they completed',
  );
  private readonly swept = this.counter('idempotency_swept_total', 'Expired keys deleted');
  private readonly commits = new Histogram({
    name: 'idempotency_commit_requests',
    help: 'Requests that share one commit',
    buckets: [1, 2, 4, 8, 16, 32, 64],
    registers: [this.registry],
  });
  private readonly durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time to answer, by route and status',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10],
    registers: [this.registry],
  });

  constructor(
    private readonly dataSource: DataSource,
    private readonly store: UpkeepStore,
    private readonly looks: DatabaseLooks,
    idempotency: Idempotency,
  ) {
    collectDefaultMetrics({ register: this.registry });
    // Every counter starts at 0, so that a rate over it has no gaps.
    OUTCOMES.forEach((outcome) => this.requests.inc({ outcome }, 0));
    idempotency.events.subscribe((event) => this.count(event));
    this.gauges();
  }

  /** Measures the duration of every request of a server. */
  observe(fastify: FastifyInstance): void {
    fastify.addHook('onResponse', (request, reply, done) => {
      const labels = { method: request.method, route: request.routeOptions.url ?? 'none', status: reply.statusCode };
      this.durations.observe(labels, reply.elapsedTime / 1000);
      done();
    });
  }

  private count(event: IdempotencyEvent): void {
    switch (event.type) {
      case 'answered':
        return this.requests.inc({ outcome: event.outcome });
      case 'committed':
        return this.commits.observe(event.requests);
      case 'recovered':
        return this.recovered.inc();
      case 'forgotten':
        return this.forgotten.inc();
      case 'unresumed':
        this.unresumed.reset();
        return event.operations.forEach(({ operation, requests }) => this.unresumed.set({ operation }, requests));
      case 'fenced_off':
        return this.fencedOff.inc();
      case 'swept':
        return this.swept.inc(event.rows);
    }
  }

  private gauges(): void {
    const registers = [this.registry];
    const { store, looks, dataSource } = this;
    new Gauge({
      name: 'idempotency_oldest_unfinished_seconds',
      help: 'Age of the oldest request that is not completed; NaN while the database is unavailable',
      registers,
      async collect() {
        this.set(await looks.take(() => store.oldestUnfinishedSeconds()).catch(() => NaN));
      },
    });
    new Gauge({
      name: 'database_pool_connections',
      help: 'Used and idle connections of the pool, and requests that wait for a connection',
      labelNames: ['state'],
      registers,
      collect() {
        const pool = (dataSource.driver as unknown as { master?: PoolCounts }).master;
        if (!pool) return;
        this.set({ state: 'used' }, pool.totalCount - pool.idleCount);
        this.set({ state: 'idle' }, pool.idleCount);
        this.set({ state: 'waiting' }, pool.waitingCount);
      },
    });
  }

  private counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }
}

@ApiTags('operations')
@Public()
@Controller('metrics')
export class MetricsController {
  constructor(private readonly metrics: Metrics) {}

  @Get()
  @Header('content-type', Registry.PROMETHEUS_CONTENT_TYPE)
  @ApiOperation({
    summary: 'Read metrics in the text format of Prometheus',
    description: 'The metrics can be one second old.',
  })
  @ApiProduces('text/plain')
  read(): Promise<string> {
    return this.metrics.page();
  }
}
