import { Module } from '@nestjs/common';
import { ChargesModule } from '../charges/charges.module.js';
import { Drain } from './drain.js';
import { GatewayMetrics } from './gateway-metrics.js';
import { HealthController } from './health.controller.js';
import { DatabaseLooks } from './looks.js';
import { MessagingMetrics } from './messaging-metrics.js';
import { Metrics, MetricsController } from './metrics.js';
import { WebhookMetrics } from './webhook-metrics.js';

@Module({
  imports: [ChargesModule],
  controllers: [HealthController, MetricsController],
  providers: [DatabaseLooks, Drain, GatewayMetrics, MessagingMetrics, Metrics, WebhookMetrics],
})
export class OperationsModule {}
