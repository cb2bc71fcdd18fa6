import { createHash, randomUUID } from 'node:crypto';
import { Body, Controller, Headers, HttpCode, Module, Post, UnprocessableEntityException } from '@nestjs/common';
import { InjectDataSource, TypeOrmModule } from '@nestjs/typeorm';
import { Column, DataSource, Entity, type EntityManager, PrimaryColumn, QueryFailedError } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { DEMO_ACCOUNT } from '../../src/accounts/api-keys.js';
import { Charge } from '../../src/charges/charge.entity.js';
import { CreateCharge } from '../../src/charges/dto/create-charge.dto.js';
import { toResource } from '../../src/charges/dto/charge.resource.js';
import { PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import { SimulatedBank } from '../../src/charges/gateway/simulated-bank.js';
import { dataSourceOptions } from '../../src/database/data-source.js';
import { appendMessage, pendingCharge, settlement } from './charge-rows.js';
import { config, serveWithin } from './comparator.js';

const UNIQUE_VIOLATION = '23505';
const LEASE_MS = 30_000;

/** The name of the textbook's own data source, which has as many connections as the service. */
const POOL = 'textbook';

/** The table of the service, so that both contenders write the same bytes. */
@Entity('processed_requests')
class ProcessedRequest {
  @PrimaryColumn({ type: 'text' })
  account_id!: string;

  @PrimaryColumn({ type: 'text' })
  idempotency_key!: string;

  @Column({ type: 'uuid' })
  request_id!: string;

  @Column({ type: 'text' })
  operation!: string;

  @Column({ type: 'bytea' })
  fingerprint!: Buffer;

  @Column({ type: 'uuid' })
  lock_token!: string;

  @Column({ type: 'timestamptz', nullable: true })
  locked_until!: Date | null;

  @Column({ type: 'smallint', nullable: true })
  response_status!: number | null;

  @Column({ type: 'jsonb', nullable: true })
  response_headers!: Record<string, string> | null;

  @Column({ type: 'text', nullable: true })
  response_body!: string | null;

  @Column({ type: 'timestamptz' })
  created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  completed_at!: Date | null;
}

const options = {
  ...dataSourceOptions(config.DATABASE_URL ?? '', config.DATABASE_POOL_SIZE),
  entities: [Charge, ProcessedRequest],
};

/** The common solution: one transaction around everything, with `find` and `save`, and with the call of the bank inside it. */
@Controller('textbook/charges')
class ChargesController {
  constructor(
    @InjectDataSource(POOL) private readonly dataSource: DataSource,
    private readonly gateway: PaymentGateway,
  ) {}

  @Post()
  @HttpCode(200)
  async create(@Body() input: CreateCharge, @Headers('idempotency-key') key: string): Promise<unknown> {
    const once = () => this.dataSource.transaction((tx) => this.charge(tx, key, input));
    return once().catch((error: unknown) => {
      const isDuplicate =
        error instanceof QueryFailedError && (error.driverError as { code?: string }).code === UNIQUE_VIOLATION;
      if (!isDuplicate) throw error;
      // The insert has waited for the commit of the other request, so its reply can be found now.
      return once();
    });
  }

  private async charge(tx: EntityManager, key: string, input: CreateCharge): Promise<unknown> {
    const fingerprint = createHash('sha256').update(JSON.stringify(input)).digest();
    const known = await tx.findOneBy(ProcessedRequest, { account_id: DEMO_ACCOUNT, idempotency_key: key });
    if (known && !known.fingerprint.equals(fingerprint)) throw new UnprocessableEntityException();
    if (known) return JSON.parse(known.response_body ?? '');

    const request = {
      account_id: DEMO_ACCOUNT,
      idempotency_key: key,
      request_id: uuidv7(),
      operation: 'POST /charges',
      fingerprint,
      lock_token: randomUUID(),
      locked_until: new Date(Date.now() + LEASE_MS),
      created_at: new Date(),
    };
    // `save` would read the row again. If another request has inserted the row since then, `save` would overwrite it and charge a second time.
    // `insert` fails on the constraint of the table instead, about once in thousands of concurrent requests with one key.
    await tx.insert(ProcessedRequest, request);
    const charge = await tx.save(Charge, pendingCharge(request.request_id, input));
    const outcome = await this.gateway.authorize(charge, performance.now());
    const resource = toResource(await tx.save(Charge, { ...charge, ...settlement(outcome) }), 0);
    await appendMessage(tx, charge);
    await tx.save(ProcessedRequest, {
      ...request,
      locked_until: null,
      response_status: 200,
      response_headers: { 'content-type': 'application/json; charset=utf-8' },
      response_body: JSON.stringify(resource),
      completed_at: new Date(),
    });
    return resource;
  }
}

@Module({
  imports: [TypeOrmModule.forRoot({ ...options, name: POOL })],
  controllers: [ChargesController],
  // The bank is called while the transaction of the request holds a connection. With the same pool, ten requests would hold all ten connections and
  // wait forever for an eleventh, a deadlock that PostgreSQL cannot detect. So the bank uses the pool of the service.
  providers: [{ provide: PaymentGateway, useClass: SimulatedBank }],
})
class Textbook {}

await serveWithin(Textbook, 'textbook');
