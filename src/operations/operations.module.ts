import { Module } from '@nestjs/common';
import { Drain } from './drain.js';
import { HealthController } from './health.controller.js';
import { DatabaseLooks } from './looks.js';
import { MessagingMetrics } from './messaging-metrics.js';
import { Metrics, MetricsController } from './metrics.js';

@Module({
  controllers: [HealthController, MetricsController],
  providers: [DatabaseLooks, Drain, MessagingMetrics, Metrics],
  // For the metrics of features.
  exports: [Metrics],
})
export class OperationsModule {}
