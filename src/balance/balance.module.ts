import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Consumers } from '../messaging/index.js';
import { BalanceController } from './balance.controller.js';
import { Balance } from './balance.entity.js';
import { BalanceService } from './balance.service.js';
import { earningsConsumer } from './earnings.consumer.js';

@Module({
  imports: [TypeOrmModule.forFeature([Balance])],
  controllers: [BalanceController],
  providers: [BalanceService],
})
export class BalanceModule {
  constructor(consumers: Consumers) {
    consumers.register(earningsConsumer);
  }
}
