import { Body, Controller, Delete, Get, HttpCode, HttpStatus, Param, Put, Res } from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ClientId } from '../http/client-id.pipe.js';
import { ApiClientId, ApiProblems } from '../http/openapi.decorators.js';
import { InventoryItemResource } from './dto/inventory-item.resource.js';
import { SetStock } from './dto/set-stock.dto.js';
import { InventoryService } from './inventory.service.js';

@ApiTags('inventory')
@ApiBearerAuth()
@Controller('inventory')
export class InventoryController {
  constructor(private readonly inventory: InventoryService) {}

  @Put(':item_id')
  @ApiClientId('item_id', 'espresso_beans')
  @ApiOperation({
    summary: 'Create an item or replace its stock',
    description:
      'Idempotent without a key, because it writes an absolute number: a retry sets the same stock again. A late retry is dangerous, because it restores stock that orders have taken since the first request.',
  })
  @ApiCreatedResponse({ type: InventoryItemResource, description: 'The item was created' })
  @ApiOkResponse({ type: InventoryItemResource, description: 'The stock of the existing item was replaced' })
  @ApiProblems(
    'validation_failed',
    'malformed_json',
    'card_data_refused',
    'unauthorized',
    'body_too_large',
    'unsupported_media_type',
    'database_unavailable',
    'account_moving',
  )
  async put(
    @CurrentAccount() accountId: string,
    @Param('item_id', ClientId) itemId: string,
    @Body() { stock }: SetStock,
    @Res({ passthrough: true }) response: FastifyReply,
  ): Promise<InventoryItemResource> {
    const { item, isNew } = await this.inventory.set(accountId, itemId, stock);
    void response.status(isNew ? HttpStatus.CREATED : HttpStatus.OK);
    return item;
  }

  @Get(':item_id')
  @ApiClientId('item_id', 'espresso_beans')
  @ApiOperation({ summary: 'Read the stock of an item' })
  @ApiOkResponse({ type: InventoryItemResource })
  @ApiProblems('validation_failed', 'unauthorized', 'not_found', 'database_unavailable')
  find(
    @CurrentAccount() accountId: string,
    @Param('item_id', ClientId) itemId: string,
  ): Promise<InventoryItemResource> {
    return this.inventory.find(accountId, itemId);
  }

  @Delete(':item_id')
  @HttpCode(204)
  @ApiClientId('item_id', 'espresso_beans')
  @ApiOperation({
    summary: 'Delete an item',
    description: 'Idempotent without a key: if the item does not exist, the reply is 204 as well.',
  })
  @ApiNoContentResponse({ description: 'The item does not exist, or no longer exists' })
  @ApiProblems('validation_failed', 'unauthorized', 'database_unavailable', 'account_moving')
  remove(@CurrentAccount() accountId: string, @Param('item_id', ClientId) itemId: string): Promise<void> {
    return this.inventory.remove(accountId, itemId);
  }
}
