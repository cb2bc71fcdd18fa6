import { Module } from '@nestjs/common';
import { HealthController } from './health.controller.js';
import { Metrics, MetricsController } from './metrics.js';

@Module({ controllers: [HealthController, MetricsController], providers: [Metrics] })
export class OperationsModule {}
