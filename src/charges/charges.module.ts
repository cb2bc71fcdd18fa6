import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Charge } from './charge.entity.js';
import { ChargesController } from './charges.controller.js';
import { ChargesReader } from './charges.reader.js';
import { ChargeRecovery } from './charges.recovery.js';
import { PaymentGateway } from './gateway/payment.gateway.js';
import { SimulatedBank } from './gateway/simulated-bank.js';

@Module({
  imports: [TypeOrmModule.forFeature([Charge])],
  controllers: [ChargesController],
  providers: [ChargesReader, ChargeRecovery, { provide: PaymentGateway, useClass: SimulatedBank }],
})
export class ChargesModule {}
