import { Body, Controller, Delete, Get, HttpCode, HttpStatus, Param, Patch, Put, Res } from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiBody,
  ApiCreatedResponse,
  ApiExtraModels,
  ApiHeader,
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
import { Problem, type ProblemCode, validationFailed } from '../http/problem.js';
import { Idempotent, type IdempotentRequest, IdempotencyContext, type RecordedReply } from '../idempotency/index.js';
import type { Customer } from './customer.entity.js';
import { ChangeCustomer, ReplaceCustomer } from './dto/customer.dto.js';
import { CustomerResource, etagOf, toResource } from './dto/customer.resource.js';
import { Customers } from './customers.js';
import { change } from './customers.phases.js';
import { ENTITY_TAGS, IfMatch, type Precondition } from './if-match.js';

const IF_MATCH = { name: 'If-Match', example: '"1"', description: 'The ETag of the version that is meant' };
const VERSIONS = { type: 'string' as const, pattern: `^${ENTITY_TAGS}$` };
const ANY_VERSION = { type: 'string' as const, enum: ['*'] };
const ETAG = {
  ETag: {
    description: 'The version of the customer',
    required: true,
    schema: { type: 'string' as const, example: '"1"' },
  },
};
const BODY_PROBLEMS: ProblemCode[] = [
  'validation_failed',
  'malformed_json',
  'card_data_refused',
  'unauthorized',
  'version_mismatch',
  'body_too_large',
  'unsupported_media_type',
];

@ApiTags('customers')
@ApiBearerAuth()
@Controller('customers')
export class CustomersController {
  constructor(private readonly customers: Customers) {}

  @Put(':id')
  @ApiClientId('id', 'cus_ada')
  @ApiHeader({ ...IF_MATCH, schema: { anyOf: [ANY_VERSION, VERSIONS] } })
  @ApiOperation({
    summary: 'Make a customer what you say',
    description:
      'Idempotent as it is: it replaces all of the customer. Sent again it changes nothing, not even the version. With If-Match it replaces that version and no other.',
  })
  @ApiCreatedResponse({ type: CustomerResource, description: 'The customer is new', headers: ETAG })
  @ApiOkResponse({ type: CustomerResource, description: 'The customer was there, and is this now', headers: ETAG })
  @ApiProblems(...BODY_PROBLEMS, 'database_unavailable')
  async put(
    @CurrentAccount() accountId: string,
    @Param('id', ClientId) id: string,
    @IfMatch() precondition: Precondition,
    @Body() content: ReplaceCustomer,
    @Res({ passthrough: true }) response: FastifyReply,
  ): Promise<CustomerResource> {
    const { customer, isNew } = await this.customers.replace(accountId, id, content, precondition);
    return send(response.status(isNew ? HttpStatus.CREATED : HttpStatus.OK), customer);
  }

  @Patch(':id')
  @HttpCode(200)
  @Idempotent('optional', 'if-match')
  @ApiClientId('id', 'cus_ada')
  @ApiHeader({ ...IF_MATCH, required: true, schema: VERSIONS })
  @ApiExtraModels(ChangeCustomer)
  @ApiBody({ schema: { allOf: [{ $ref: getSchemaPath(ChangeCustomer) }], minProperties: 1 } })
  @ApiProblems(...BODY_PROBLEMS, 'not_found', 'version_required', 'internal_error')
  @ApiOperation({
    summary: 'Change some of a customer, if it is still what you have read',
    description:
      'An optimistic lock: of two who have read the same version, one changes it, and the other gets 412. So the winner that sends it again gets 412 too, unless it uses an `Idempotency-Key`: then it gets its reply.',
  })
  @ApiOkResponse({ type: CustomerResource, headers: ETAG })
  patch(
    @Param('id', ClientId) id: string,
    @IfMatch() precondition: Precondition,
    @Body() input: ChangeCustomer,
    @IdempotencyContext() request: IdempotentRequest,
  ): Promise<RecordedReply> {
    if (precondition.kind !== 'versions') {
      throw new Problem(
        'version_required',
        'Expected If-Match with the ETag of the version that is to be changed, such as "1".',
      );
    }
    if (Object.values(input).every((value) => value === undefined)) {
      throw validationFailed({ field: 'body', message: 'expected at least one of name, email, status' });
    }
    return request.complete(change, { id, versions: precondition.versions, change: input });
  }

  @Get(':id')
  @ApiClientId('id', 'cus_ada')
  @ApiOperation({ summary: 'Read a customer, and its version' })
  @ApiOkResponse({ type: CustomerResource, headers: ETAG })
  @ApiProblems('validation_failed', 'unauthorized', 'not_found', 'database_unavailable')
  async find(
    @CurrentAccount() accountId: string,
    @Param('id', ClientId) id: string,
    @Res({ passthrough: true }) response: FastifyReply,
  ): Promise<CustomerResource> {
    return send(response, await this.customers.find(accountId, id));
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiClientId('id', 'cus_ada')
  @ApiHeader({ ...IF_MATCH, schema: { anyOf: [ANY_VERSION, VERSIONS] } })
  @ApiOperation({
    summary: 'Delete a customer',
    description: 'Idempotent as it is: deleted twice, it is as gone as deleted once, whatever version was meant.',
  })
  @ApiNoContentResponse({ description: 'The customer is not there any more, or never was' })
  @ApiProblems('validation_failed', 'unauthorized', 'version_mismatch', 'database_unavailable')
  async remove(
    @CurrentAccount() accountId: string,
    @Param('id', ClientId) id: string,
    @IfMatch() precondition: Precondition,
  ): Promise<void> {
    await this.customers.remove(accountId, id, precondition);
  }
}

function send(response: FastifyReply, customer: Customer): CustomerResource {
  void response.header('etag', etagOf(customer));
  return toResource(customer);
}
