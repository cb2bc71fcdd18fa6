import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Customer } from './customer.entity.js';
import { Customers } from './customers.js';
import { CustomersController } from './customers.controller.js';

@Module({ imports: [TypeOrmModule.forFeature([Customer])], controllers: [CustomersController], providers: [Customers] })
export class CustomersModule {}
