import { Body, Controller, Headers, HttpCode, Module, Post } from '@nestjs/common';
import { CreateCharge } from '../../../src/charges/dto/create-charge.dto.js';
import type { ChargeResource } from '../../../src/charges/dto/charge.resource.js';
import { serveWithin } from '../comparator.js';
import { UNPROTECTED_CHARGES, UnprotectedCharges } from '../unprotected-charges.js';
import { installed, redisUrl } from './installed.js';

/** The event of a function, with the members that this contender uses. */
interface Event {
  headers: { 'idempotency-key': string };
  body: CreateCharge;
}
type Handle<Result> = (event: Event, context: { getRemainingTimeInMillis: () => number }) => Promise<Result>;

const { makeIdempotent, IdempotencyConfig } = installed('@aws-lambda-powertools/idempotency') as {
  makeIdempotent: <Result>(handle: Handle<Result>, options: object) => Handle<Result>;
  IdempotencyConfig: new (options: object) => object;
};
const { CachePersistenceLayer } = installed('@aws-lambda-powertools/idempotency/cache') as {
  CachePersistenceLayer: new (options: object) => object;
};
const { createClient } = installed('@redis/client') as {
  createClient: (options: object) => { connect: () => Promise<object> };
};

/** The time that is left to the function, which Powertools uses as its lease. It is the lease of the service. */
const LEASE_MS = 30_000;

const client = await createClient({ url: redisUrl }).connect();

/** The endpoint without idempotency, wrapped with `makeIdempotent` and the cache layer as the documentation of Powertools shows them. */
@Controller('powertools/charges')
class ChargesController {
  private readonly charge: Handle<ChargeResource>;

  constructor(charges: UnprotectedCharges) {
    this.charge = makeIdempotent(({ body }: Event) => charges.create(body), {
      persistenceStore: new CachePersistenceLayer({ client }),
      config: new IdempotencyConfig({ eventKeyJmesPath: 'headers."idempotency-key"' }),
    });
  }

  @Post()
  @HttpCode(200)
  create(@Body() body: CreateCharge, @Headers('idempotency-key') key: string): Promise<ChargeResource> {
    return this.charge({ headers: { 'idempotency-key': key }, body }, { getRemainingTimeInMillis: () => LEASE_MS });
  }
}

@Module({ ...UNPROTECTED_CHARGES, controllers: [ChargesController] })
class Powertools {}

await serveWithin(Powertools, 'powertools');
