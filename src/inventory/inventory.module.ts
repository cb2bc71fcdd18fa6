import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Inventory } from './inventory.js';
import { InventoryController } from './inventory.controller.js';
import { InventoryItem } from './inventory-item.entity.js';

@Module({
  imports: [TypeOrmModule.forFeature([InventoryItem])],
  controllers: [InventoryController],
  providers: [Inventory],
})
export class InventoryModule {}
