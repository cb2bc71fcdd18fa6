import { randomUUID } from 'node:crypto';
import { Body, Controller, Headers, HttpCode, HttpException, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DataSource } from 'typeorm';
import { Bank, type Charge, type NewCharge } from './bank.js';

export const title = 'Two commits, and a key for the bank';

/** Step 4: the intent is committed before the bank is asked, and its id is the bank's key. After a crash, the key stays taken for ever. */
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
    const id = await this.claim(key, body); // commit 1: the key and the intent
    if (!id) return this.replay(key, body, response);
    await this.bank.capture({ id, ...body }, id); // no transaction is open
    return this.complete(key, id); // commit 2: the result and the reply
  }

  private claim(key: string, body: NewCharge): Promise<string | undefined> {
    return this.db.transaction(async (tx) => {
      const [claimed] = await tx.sql<{ charge_id: string }[]>`
        INSERT INTO lab_step_4.processed_requests (idempotency_key, request_body, charge_id)
        VALUES (${key}, ${JSON.stringify(body)}, ${randomUUID()}) ON CONFLICT DO NOTHING RETURNING charge_id`;
      if (!claimed) return undefined;
      await tx.sql`
        INSERT INTO lab_step_4.charges (id, amount, currency, status)
        VALUES (${claimed.charge_id}, ${body.amount}, ${body.currency}, 'pending')`;
      return claimed.charge_id;
    });
  }

  private complete(key: string, id: string): Promise<Charge> {
    return this.db.transaction(async (tx) => {
      const [[charge]] = await tx.sql<[[Charge], number]>`
        UPDATE lab_step_4.charges SET status = 'succeeded', settled_at = clock_timestamp() WHERE id = ${id} RETURNING *`;
      await tx.sql`
        UPDATE lab_step_4.processed_requests SET response_body = ${JSON.stringify(charge)} WHERE idempotency_key = ${key}`;
      return charge;
    });
  }

  private async replay(key: string, body: NewCharge, response: FastifyReply): Promise<Charge> {
    const [known] = await this.db.sql<[{ request_body: string; response_body: string | null }]>`
      SELECT request_body, response_body FROM lab_step_4.processed_requests WHERE idempotency_key = ${key}`;
    if (known.request_body !== JSON.stringify(body)) throw new HttpException('Another request has the key', 422);
    if (known.response_body === null) throw new HttpException('The request is in progress. Try again.', 409);
    void response.header('Idempotent-Replayed', 'true');
    return JSON.parse(known.response_body) as Charge;
  }
}

export const schema = `
  CREATE SCHEMA lab_step_4;
  CREATE TABLE lab_step_4.charges (
    id uuid PRIMARY KEY, amount integer NOT NULL, currency text NOT NULL, status text NOT NULL, settled_at timestamptz
  );
  CREATE TABLE lab_step_4.processed_requests (
    idempotency_key text PRIMARY KEY, request_body text NOT NULL, charge_id uuid NOT NULL,
    response_body text
  );`;
