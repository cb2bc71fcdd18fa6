import { Injectable, Logger } from '@nestjs/common';
import { Counter } from 'prom-client';
import { type GatewayEvent, PaymentGateway } from '../charges/gateway/payment.gateway.js';
import { Metrics } from './metrics.js';

/** Counts and logs what an operator must know about the gateway. */
@Injectable()
export class GatewayMetrics {
  private readonly logger = new Logger(GatewayMetrics.name);
  private readonly undecided: Counter;

  constructor(gateway: PaymentGateway, { registry }: Metrics) {
    this.undecided = new Counter({
      name: 'charges_undecided_total',
      help: 'Attempts that found a charge which only a person can decide, including repeated ones',
      registers: [registry],
    });
    gateway.events.subscribe((event) => this.note(event));
  }

  private note({ charge: { id, account_id } }: GatewayEvent): void {
    this.undecided.inc();
    this.logger.error(
      `${id} of ${account_id}: the gateway may have forgotten the key of this charge and does not know the charge. Find out at the bank, then run: npm run charges:resolve -- --id ${id} --as captured|failed`,
    );
  }
}
