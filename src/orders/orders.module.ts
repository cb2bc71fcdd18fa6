import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Consumers } from '../messaging/index.js';
import { Order } from './order.entity.js';
import { OrdersController } from './orders.controller.js';
import { OrdersReader } from './orders.reader.js';
import { payments } from './payments.js';

@Module({ imports: [TypeOrmModule.forFeature([Order])], controllers: [OrdersController], providers: [OrdersReader] })
export class OrdersModule {
  constructor(consumers: Consumers) {
    consumers.register(payments);
  }
}
