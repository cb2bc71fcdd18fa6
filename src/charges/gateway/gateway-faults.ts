import { Injectable, Logger } from '@nestjs/common';
import { Counter } from 'prom-client';
import { Metrics } from '../../operations/metrics.js';

/**
 * The kinds of faults on our side, by which a gateway refuses a request: an idempotency key with other parameters, a request that is not valid, an
 * API key that is unknown, and an API key without the right.
 */
export const GATEWAY_FAULTS = ['idempotency', 'invalid_request', 'authentication', 'permission'] as const;

export type GatewayFault = (typeof GATEWAY_FAULTS)[number];

/** Raises an alarm for faults that no retry can correct: an error in the log, and a metric. */
@Injectable()
export class GatewayFaults {
  private readonly log = new Logger(GatewayFaults.name);
  private readonly counter: Counter;

  constructor({ registry }: Metrics) {
    this.counter = new Counter({
      name: 'payment_gateway_faults_total',
      help: 'Requests that the payment gateway refused because of a fault of this service or its settings',
      labelNames: ['fault'],
      registers: [registry],
    });
    // Every counter starts at 0, so that a rate over it has no gaps.
    GATEWAY_FAULTS.forEach((fault) => this.counter.inc({ fault }, 0));
  }

  report(fault: GatewayFault, error: Error): void {
    this.counter.inc({ fault });
    this.log.error(error);
  }
}
