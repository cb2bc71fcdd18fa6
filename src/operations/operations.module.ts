import { Module } from '@nestjs/common';
import { HealthController } from './health.controller.js';
import { MessagingMetrics } from './messaging-metrics.js';
import { Metrics, MetricsController } from './metrics.js';

@Module({ controllers: [HealthController, MetricsController], providers: [MessagingMetrics, Metrics] })
export class OperationsModule {}
