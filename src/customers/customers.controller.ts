import { Body, Controller, Delete, Get, HttpCode, HttpStatus, Param, Patch, Put, Res } from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiBody,
  ApiCreatedResponse,
  ApiExtraModels,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
  getSchemaPath,
} from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ClientId } from '../http/client-id.pipe.js';
import { ApiClientId, ApiProblems } from '../http/openapi.decorators.js';
import { Idempotent, type IdempotentRequest, IdempotencyContext, type RecordedReply } from '../idempotency/index.js';
import { ApiIfMatch, ApiRequiredIfMatch, BODY_PROBLEMS, ETAG } from './customers.openapi.js';
import { CustomersService } from './customers.service.js';
import { ChangeCustomer } from './dto/change-customer.dto.js';
import { CustomerResource, etagOf } from './dto/customer.resource.js';
import { ReplaceCustomer } from './dto/replace-customer.dto.js';
import { IfMatch, type Precondition } from './if-match.js';

@ApiTags('customers')
@ApiBearerAuth()
@Controller('customers')
export class CustomersController {
  constructor(private readonly customers: CustomersService) {}

  @Put(':id')
  @ApiClientId('id', 'cus_ada')
  @ApiIfMatch()
  @ApiOperation({
    summary: 'Create or replace a customer',
    description:
      'Idempotent without a key, because it replaces the whole customer: a retry changes nothing, not even the version. With If-Match, only the version that If-Match names is replaced, and nothing is created.',
  })
  @ApiCreatedResponse({ type: CustomerResource, description: 'The customer was created', headers: ETAG })
  @ApiOkResponse({ type: CustomerResource, description: 'The existing customer was replaced', headers: ETAG })
  @ApiProblems(...BODY_PROBLEMS, 'database_unavailable', 'account_moving')
  async put(
    @CurrentAccount() accountId: string,
    @Param('id', ClientId) id: string,
    @IfMatch() precondition: Precondition,
    @Body() content: ReplaceCustomer,
    @Res({ passthrough: true }) response: FastifyReply,
  ): Promise<CustomerResource> {
    const { customer, isNew } = await this.customers.replace(accountId, id, content, precondition);
    return withEtag(customer, response.status(isNew ? HttpStatus.CREATED : HttpStatus.OK));
  }

  @Patch(':id')
  @HttpCode(200)
  @Idempotent({ key: 'optional', headers: ['if-match'] })
  @ApiClientId('id', 'cus_ada')
  @ApiRequiredIfMatch()
  @ApiExtraModels(ChangeCustomer)
  @ApiBody({ schema: { allOf: [{ $ref: getSchemaPath(ChangeCustomer) }], minProperties: 1 } })
  @ApiProblems(...BODY_PROBLEMS, 'not_found', 'version_required', 'internal_error')
  @ApiOperation({
    summary: 'Change some members of a customer',
    description:
      'An optimistic lock: if two clients have read the same version, the first change succeeds and the second gets 412. A retry of the successful change gets 412 as well, unless both have the same `Idempotency-Key`: then the retry gets the first reply again.',
  })
  @ApiOkResponse({ type: CustomerResource, headers: ETAG })
  patch(
    @Param('id', ClientId) id: string,
    @IfMatch() precondition: Precondition,
    @Body() content: ChangeCustomer,
    @IdempotencyContext() request: IdempotentRequest,
  ): Promise<RecordedReply> {
    return this.customers.change(request, id, content, precondition);
  }

  @Get(':id')
  @ApiClientId('id', 'cus_ada')
  @ApiOperation({ summary: 'Read a customer' })
  @ApiOkResponse({ type: CustomerResource, headers: ETAG })
  @ApiProblems('validation_failed', 'unauthorized', 'not_found', 'database_unavailable')
  async find(
    @CurrentAccount() accountId: string,
    @Param('id', ClientId) id: string,
    @Res({ passthrough: true }) response: FastifyReply,
  ): Promise<CustomerResource> {
    return withEtag(await this.customers.find(accountId, id), response);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiClientId('id', 'cus_ada')
  @ApiIfMatch()
  @ApiOperation({
    summary: 'Delete a customer',
    description:
      'Idempotent without a key: if the customer does not exist, the reply is 204 as well, even with If-Match. With If-Match, only the version that If-Match names is deleted.',
  })
  @ApiNoContentResponse({ description: 'The customer does not exist, or no longer exists' })
  @ApiProblems('validation_failed', 'unauthorized', 'version_mismatch', 'database_unavailable', 'account_moving')
  remove(
    @CurrentAccount() accountId: string,
    @Param('id', ClientId) id: string,
    @IfMatch() precondition: Precondition,
  ): Promise<void> {
    return this.customers.remove(accountId, id, precondition);
  }
}

function withEtag(customer: CustomerResource, response: FastifyReply): CustomerResource {
  void response.header('etag', etagOf(customer));
  return customer;
}
