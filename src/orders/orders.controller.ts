import { Body, Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ClientId } from '../http/client-id.pipe.js';
import { ApiClientId, ApiProblems } from '../http/openapi.decorators.js';
import { Idempotent, type IdempotentRequest, IdempotencyContext, type RecordedReply } from '../idempotency/index.js';
import { ListOrders } from './dto/list-orders.dto.js';
import { OrderList } from './dto/order-list.resource.js';
import { OrderResource } from './dto/order.resource.js';
import { PlaceOrder } from './dto/place-order.dto.js';
import { OrdersService } from './orders.service.js';

@ApiTags('orders')
@ApiBearerAuth()
@Controller('orders')
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  @Post()
  @HttpCode(200)
  @Idempotent({ key: 'optional' })
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
    summary: 'Place an order',
    description:
      'Idempotent by its natural key `order_id`, without a time limit. If the same order is sent again, the reply is the order in its current state, and no more stock is taken. If the request also has an `Idempotency-Key`, a retry with this key gets the first reply again.',
  })
  @ApiOkResponse({ type: OrderResource, description: 'The order, new or existing' })
  create(@Body() input: PlaceOrder, @IdempotencyContext() request: IdempotentRequest): Promise<RecordedReply> {
    return this.orders.place(request, input);
  }

  @Get(':order_id')
  @ApiClientId('order_id', 'docs_order_1')
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
