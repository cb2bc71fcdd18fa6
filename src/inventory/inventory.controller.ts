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
import { Inventory } from './inventory.js';
import { SetStock } from './dto/inventory.dto.js';
import { InventoryItemResource, toResource } from './dto/inventory.resource.js';

@ApiTags('inventory')
@ApiBearerAuth()
@Controller('inventory')
export class InventoryController {
  constructor(private readonly inventory: Inventory) {}

  @Put(':item_id')
  @ApiClientId('item_id', 'espresso_beans')
  @ApiOperation({
    summary: 'Set the stock of an item',
    description:
      'Idempotent as it is: an upsert of an absolute number. Sent again it sets the same number, and needs no key. Beware of sending it again late: it also overwrites what orders have taken meanwhile.',
  })
  @ApiCreatedResponse({ type: InventoryItemResource, description: 'The item is new' })
  @ApiOkResponse({ type: InventoryItemResource, description: 'The item was there, and has this stock now' })
  @ApiProblems(
    'validation_failed',
    'malformed_json',
    'card_data_refused',
    'unauthorized',
    'body_too_large',
    'unsupported_media_type',
    'database_unavailable',
  )
  async put(
    @CurrentAccount() accountId: string,
    @Param('item_id', ClientId) itemId: string,
    @Body() { stock }: SetStock,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<InventoryItemResource> {
    const isNew = await this.inventory.set(accountId, itemId, stock);
    void reply.status(isNew ? HttpStatus.CREATED : HttpStatus.OK);
    return toResource({ item_id: itemId, stock });
  }

  @Get(':item_id')
  @ApiClientId('item_id', 'espresso_beans')
  @ApiOperation({ summary: 'Read an item' })
  @ApiOkResponse({ type: InventoryItemResource })
  @ApiProblems('validation_failed', 'unauthorized', 'not_found', 'database_unavailable')
  async find(
    @CurrentAccount() accountId: string,
    @Param('item_id', ClientId) itemId: string,
  ): Promise<InventoryItemResource> {
    return toResource(await this.inventory.find(accountId, itemId));
  }

  @Delete(':item_id')
  @HttpCode(204)
  @ApiClientId('item_id', 'espresso_beans')
  @ApiOperation({
    summary: 'Remove an item',
    description: 'Idempotent as it is: deleted twice, it is as gone as deleted once.',
  })
  @ApiNoContentResponse({ description: 'The item is not there any more, or never was' })
  @ApiProblems('validation_failed', 'unauthorized', 'database_unavailable')
  async remove(@CurrentAccount() accountId: string, @Param('item_id', ClientId) itemId: string): Promise<void> {
    await this.inventory.remove(accountId, itemId);
  }
}
