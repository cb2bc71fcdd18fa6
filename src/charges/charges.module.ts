import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { CONFIG, type Config } from '../config.js';
import { Charge } from './charge.entity.js';
import { ChargeResolution } from './charge-resolution.js';
import { ChargesController } from './charges.controller.js';
import { ChargesReader } from './charges.reader.js';
import { ChargesService } from './charges.service.js';
import { HttpGateway } from './gateway/http-gateway.js';
import { limitsOf, PaymentGateway } from './gateway/payment.gateway.js';
import { SimulatedBank } from './gateway/simulated-bank.js';
import { createStripe } from './gateway/stripe/stripe.client.js';
import { StripeGateway } from './gateway/stripe/stripe.gateway.js';
import { StripePayments } from './gateway/stripe/stripe.payments.js';
import { WebhookEvents } from './webhooks/webhook-events.js';
import { RefundResolution } from './refunds/refund-resolution.js';
import { RefundsController } from './refunds/refunds.controller.js';
import { RefundsService } from './refunds/refunds.service.js';

@Module({
  imports: [TypeOrmModule.forFeature([Charge])],
  controllers: [ChargesController, RefundsController],
  providers: [
    ChargesService,
    ChargesReader,
    ChargeResolution,
    RefundResolution,
    RefundsService,
    WebhookEvents,
    { provide: PaymentGateway, useFactory: gatewayOf, inject: [CONFIG, DataSource] },
  ],
  exports: [PaymentGateway, WebhookEvents],
})
export class ChargesModule {}

/** The bank at `GATEWAY_URL`, or Stripe if `STRIPE_API_KEY` is set, or else the simulated bank. */
async function gatewayOf(config: Config, dataSource: DataSource): Promise<PaymentGateway> {
  const { GATEWAY_URL, STRIPE_API_KEY } = config;
  if (GATEWAY_URL) return new HttpGateway(GATEWAY_URL, limitsOf(config));
  if (!STRIPE_API_KEY) return new SimulatedBank(dataSource, config);
  return new StripeGateway(await createStripe(config), new StripePayments(dataSource), limitsOf(config));
}
