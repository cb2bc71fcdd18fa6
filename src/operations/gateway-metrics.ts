import { Injectable, Logger } from '@nestjs/common';
import { Counter } from 'prom-client';
import { GATEWAY_FAULTS, type GatewayEvent, PaymentGateway } from '../charges/gateway/payment.gateway.js';
import { Metrics } from './metrics.js';

/** Counts and logs what an operator must know about the gateway. */
@Injectable()
export class GatewayMetrics {
  private readonly logger = new Logger(GatewayMetrics.name);
  private readonly undecided: Counter;
  private readonly faults: Counter;
  private readonly refundsUndecided: Counter;

  constructor(gateway: PaymentGateway, { registry }: Metrics) {
    this.undecided = new Counter({
      name: 'charges_undecided_total',
      help: 'Attempts that found a charge which only a person can decide, including repeated ones',
      registers: [registry],
    });
    this.faults = new Counter({
      name: 'payment_gateway_faults_total',
      help: 'Requests that the gateway refused because of a fault of this service or of its settings',
      labelNames: ['fault'],
      registers: [registry],
    });
    // Every counter starts at 0, so that a rate over it has no gaps.
    GATEWAY_FAULTS.forEach((fault) => this.faults.inc({ fault }, 0));
    this.refundsUndecided = new Counter({
      name: 'refunds_undecided_total',
      help: 'Attempts that found a refund which only a person can decide, including repeated ones',
      registers: [registry],
    });
    gateway.events.subscribe((event) => this.note(event));
  }

  private note(event: GatewayEvent): void {
    switch (event.type) {
      case 'undecided': {
        const { id, account_id } = event.charge;
        this.undecided.inc();
        return this.logger.error(
          `${id} of ${account_id}: the gateway may have forgotten the key of this charge and does not know the charge. Find out at the bank, then run: npm run charges:resolve -- --id ${id} --as captured|failed`,
        );
      }
      case 'fault':
        this.faults.inc({ fault: event.fault });
        return this.logger.error(event.error);
      case 'refund undecided': {
        const { id, account_id } = event.refund;
        this.refundsUndecided.inc();
        return this.logger.error(
          `${id} of ${account_id}: the gateway may have forgotten the key of this refund and does not know the refund. Find out at the bank, then run: npm run charges:resolve -- --id ${id} --as refunded|failed`,
        );
      }
    }
  }
}
