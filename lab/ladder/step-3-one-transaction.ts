import { randomUUID } from 'node:crypto';
import { Body, Controller, Headers, HttpCode, HttpException, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DataSource, type EntityManager } from 'typeorm';
import { Bank, type Charge, type NewCharge } from './bank.js';

export const title = 'A unique key, and one transaction around everything';

/** Step 3: the key is inserted first, and is unique. Everything is one transaction, but the bank's capture cannot be rolled back. */
@Controller('charges')
export class ChargesController {
  constructor(
    private readonly db: DataSource,
    private readonly bank: Bank,
  ) {}

  @Post()
  @HttpCode(200)
  create(
    @Headers('idempotency-key') key: string,
    @Body() body: NewCharge,
    @Res({ passthrough: true }) response: FastifyReply,
  ): Promise<Charge> {
    return this.db.transaction(async (tx) => {
      const request = JSON.stringify(body);
      // If another transaction is inserting the same key, this insert waits for that transaction to end.
      const [claimed] = await tx.sql<unknown[]>`
        INSERT INTO lab_step_3.processed_requests (idempotency_key, request_body) VALUES (${key}, ${request})
        ON CONFLICT DO NOTHING RETURNING idempotency_key`;
      if (!claimed) return replay(tx, key, request, response);

      const { amount, currency } = body;
      const id = randomUUID();
      await this.bank.capture({ id, amount, currency }); // the transaction is open and holds a connection
      const [charge] = await tx.sql<[Charge]>`
        INSERT INTO lab_step_3.charges (id, amount, currency, status)
        VALUES (${id}, ${amount}, ${currency}, 'succeeded') RETURNING *`;
      await tx.sql`
        UPDATE lab_step_3.processed_requests SET response_body = ${JSON.stringify(charge)} WHERE idempotency_key = ${key}`;
      return charge;
    });
  }
}

async function replay(tx: EntityManager, key: string, request: string, response: FastifyReply): Promise<Charge> {
  const [known] = await tx.sql<[{ request_body: string; response_body: string }]>`
    SELECT request_body, response_body FROM lab_step_3.processed_requests WHERE idempotency_key = ${key}`;
  if (known.request_body !== request) throw new HttpException('Another request has the key', 422);
  void response.header('Idempotent-Replayed', 'true');
  return JSON.parse(known.response_body) as Charge;
}

export const schema = `
  CREATE SCHEMA lab_step_3;
  CREATE TABLE lab_step_3.charges (
    id         uuid        PRIMARY KEY,
    amount     integer     NOT NULL,
    currency   text        NOT NULL,
    status     text        NOT NULL,
    settled_at timestamptz DEFAULT clock_timestamp()
  );
  CREATE TABLE lab_step_3.processed_requests (
    idempotency_key text PRIMARY KEY,
    request_body    text NOT NULL,
    response_body   text
  );`;
