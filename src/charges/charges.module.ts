import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { CONFIG, type Config } from '../config.js';
import { Charge } from './charge.entity.js';
import { ChargeResolution } from './charge-resolution.js';
import { ChargesController } from './charges.controller.js';
import { ChargesReader } from './charges.reader.js';
import { ChargesService } from './charges.service.js';
import { HttpGateway } from './gateway/http-gateway.js';
import { limitsOf, PaymentGateway } from './gateway/payment.gateway.js';
import { SimulatedBank } from './gateway/simulated-bank.js';

@Module({
  imports: [TypeOrmModule.forFeature([Charge])],
  controllers: [ChargesController],
  providers: [
    ChargesService,
    ChargesReader,
    ChargeResolution,
    { provide: PaymentGateway, useFactory: gatewayOf, inject: [CONFIG, DataSource] },
  ],
  exports: [PaymentGateway],
})
export class ChargesModule {}

/** The bank at `GATEWAY_URL`, or the simulated bank if `GATEWAY_URL` is not set. */
function gatewayOf(config: Config, dataSource: DataSource): PaymentGateway {
  const { GATEWAY_URL } = config;
  return GATEWAY_URL ? new HttpGateway(GATEWAY_URL, limitsOf(config)) : new SimulatedBank(dataSource, config);
}
