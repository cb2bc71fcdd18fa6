import { randomUUID } from 'node:crypto';
import { Body, Controller, Headers, HttpCode, HttpException, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DataSource } from 'typeorm';
import { Bank, type Charge, type NewCharge } from './bank.js';

export const title = 'Looks the key up, charges, stores the key';

/** Step 2: the client names its request with a key, and the reply is stored under the key. Two requests at once both find no key. */
@Controller('charges')
export class ChargesController {
  constructor(
    private readonly db: DataSource,
    private readonly bank: Bank,
  ) {}

  @Post()
  @HttpCode(200)
  async create(
    @Headers('idempotency-key') key: string,
    @Body() body: NewCharge,
    @Res({ passthrough: true }) response: FastifyReply,
  ): Promise<Charge> {
    const request = JSON.stringify(body);
    const [known] = await this.db.sql<KnownRequest[]>`
      SELECT request_body, response_body FROM lab_step_2.processed_requests WHERE idempotency_key = ${key}`;
    if (known) return replay(known, request, response);

    const { amount, currency } = body;
    const id = randomUUID();
    await this.bank.capture({ id, amount, currency });
    const [charge] = await this.db.sql<[Charge]>`
      INSERT INTO lab_step_2.charges (id, amount, currency, status)
      VALUES (${id}, ${amount}, ${currency}, 'succeeded') RETURNING *`;
    await this.db.sql`
      INSERT INTO lab_step_2.processed_requests (idempotency_key, request_body, response_body)
      VALUES (${key}, ${request}, ${JSON.stringify(charge)})`;
    return charge;
  }
}

interface KnownRequest {
  request_body: string;
  response_body: string;
}

function replay(known: KnownRequest, request: string, response: FastifyReply): Charge {
  if (known.request_body !== request) throw new HttpException('Another request has the key', 422);
  void response.header('Idempotent-Replayed', 'true');
  return JSON.parse(known.response_body) as Charge;
}

export const schema = `
  CREATE SCHEMA lab_step_2;
  CREATE TABLE lab_step_2.charges (
    id         uuid        PRIMARY KEY,
    amount     integer     NOT NULL,
    currency   text        NOT NULL,
    status     text        NOT NULL,
    settled_at timestamptz DEFAULT clock_timestamp()
  );
  CREATE TABLE lab_step_2.processed_requests (
    idempotency_key text NOT NULL,
    request_body    text NOT NULL,
    response_body   text NOT NULL
  );`;
