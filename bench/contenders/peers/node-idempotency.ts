import { Body, Controller, type DynamicModule, HttpCode, Module, Post } from '@nestjs/common';
import { CreateCharge } from '../../../src/charges/dto/create-charge.dto.js';
import type { ChargeResource } from '../../../src/charges/dto/charge.resource.js';
import { serveWithin } from '../comparator.js';
import { UNPROTECTED_CHARGES, UnprotectedCharges } from '../unprotected-charges.js';
import { installed, redisUrl } from './installed.js';

const { Idempotent, NodeIdempotencyModule, StorageAdapterEnum } = installed('@node-idempotency/nestjs') as {
  Idempotent: () => MethodDecorator;
  NodeIdempotencyModule: { forRootAsync: (options: object) => DynamicModule };
  StorageAdapterEnum: { redis: string };
};

/** The endpoint without idempotency, with the decorator of @node-idempotency/nestjs and the configuration of its README. */
@Controller('node-idempotency/charges')
class ChargesController {
  constructor(private readonly charges: UnprotectedCharges) {}

  @Idempotent()
  @Post()
  @HttpCode(200)
  create(@Body() input: CreateCharge): Promise<ChargeResource> {
    return this.charges.create(input);
  }
}

@Module({
  imports: [
    ...UNPROTECTED_CHARGES.imports,
    NodeIdempotencyModule.forRootAsync({ storage: { adapter: StorageAdapterEnum.redis, options: { url: redisUrl } } }),
  ],
  controllers: [ChargesController],
  providers: UNPROTECTED_CHARGES.providers,
})
class NodeIdempotency {}

await serveWithin(NodeIdempotency, 'node-idempotency');
