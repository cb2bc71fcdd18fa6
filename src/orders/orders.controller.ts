import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ClientId } from '../http/client-id.pipe.js';
import { ApiClientId, ApiProblems } from '../http/openapi.decorators.js';
import { Idempotent, type IdempotentRequest, IdempotencyContext, type RecordedReply } from '../idempotency/index.js';
import { ListOrders, PlaceOrder } from './dto/place-order.dto.js';
import { OrderList, OrderResource } from './dto/order.resource.js';
import { place } from './orders.phases.js';
import { OrdersReader } from './orders.reader.js';

@ApiTags('orders')
@ApiBearerAuth()
@Controller('orders')
export class OrdersController {
  constructor(private readonly orders: OrdersReader) {}

  /** Everything is in our database, so it is one commit. */
  @Post()
  @HttpCode(200)
  @Idempotent('optional')
  @ApiProblems(
    'validation_failed',
    'malformed_json',
    'card_data_refused',
    'unauthorized',
    'insufficient_stock',
    'order_id_reused',
    'body_too_large',
    'unsupported_media_type',
    'internal_error',
  )
  @ApiOperation({
    summary: 'Place an order, once',
    description:
      'Idempotent by its natural key, `order_id`, for ever: sent again with the same content it answers with the order as it is now, and takes no stock. With an `Idempotency-Key` on top, the reply itself is repeated.',
  })
  @ApiOkResponse({ type: OrderResource, description: 'The order, new or as it was placed before' })
  create(@Body() input: PlaceOrder, @IdempotencyContext() request: IdempotentRequest): Promise<RecordedReply> {
    return request.complete(place, input);
  }

  @Get(':order_id')
  @ApiClientId('order_id', 'order_12345')
  @ApiOperation({ summary: 'Read an order' })
  @ApiOkResponse({ type: OrderResource })
  @ApiProblems('validation_failed', 'unauthorized', 'not_found', 'database_unavailable')
  find(@CurrentAccount() accountId: string, @Param('order_id', ClientId) orderId: string): Promise<OrderResource> {
    return this.orders.find(accountId, orderId);
  }

  @Get()
  @ApiOperation({ summary: 'List your orders, newest first' })
  @ApiOkResponse({ type: OrderList })
  @ApiProblems('validation_failed', 'card_data_refused', 'unauthorized', 'not_found', 'database_unavailable')
  list(@CurrentAccount() accountId: string, @Query() query: ListOrders): Promise<OrderList> {
    return this.orders.list(accountId, query);
  }
}
