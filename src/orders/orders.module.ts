import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Consumers } from '../messaging/index.js';
import { Order } from './order.entity.js';
import { OrdersController } from './orders.controller.js';
import { OrdersService } from './orders.service.js';
import { paymentsConsumer } from './payments.consumer.js';

@Module({ imports: [TypeOrmModule.forFeature([Order])], controllers: [OrdersController], providers: [OrdersService] })
export class OrdersModule {
  constructor(consumers: Consumers) {
    consumers.register(paymentsConsumer);
  }
}
