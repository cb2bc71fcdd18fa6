import { Module } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { CONFIG, type Config } from '../../config.js';
import { ChargesModule } from '../charges.module.js';
import { StripePayments } from '../gateway/stripe/stripe.payments.js';
import { EventCharges } from './event-charges.js';
import { EventInbox } from './event-inbox.js';
import { PaymentEvents } from './payment-events.js';
import { ReversalEvents } from './reversal-events.js';
import { StripeSignatures } from './stripe-signatures.js';
import { UnmatchedEvents } from './unmatched-events.js';
import { WebhooksController } from './webhooks.controller.js';
import { WebhooksService } from './webhooks.service.js';

/** The events of Stripe. The module is part of the application only if `STRIPE_WEBHOOK_SECRET` is set, so otherwise the route does not exist. */
@Module({
  imports: [ChargesModule],
  controllers: [WebhooksController],
  providers: [
    WebhooksService,
    EventCharges,
    EventInbox,
    PaymentEvents,
    ReversalEvents,
    UnmatchedEvents,
    {
      provide: StripeSignatures,
      useFactory: ({ STRIPE_WEBHOOK_SECRET = '' }: Config) => StripeSignatures.of(STRIPE_WEBHOOK_SECRET),
      inject: [CONFIG],
    },
    {
      provide: StripePayments,
      useFactory: (dataSource: DataSource) => new StripePayments(dataSource),
      inject: [DataSource],
    },
  ],
})
export class WebhooksModule {}
