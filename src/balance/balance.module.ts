import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Consumers } from '../messaging/index.js';
import { BalanceController } from './balance.controller.js';
import { Balance } from './balance.entity.js';
import { earnings } from './earnings.js';

@Module({ imports: [TypeOrmModule.forFeature([Balance])], controllers: [BalanceController] })
export class BalanceModule {
  constructor(consumers: Consumers) {
    consumers.register(earnings);
  }
}
