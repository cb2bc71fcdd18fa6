import { randomUUID } from 'node:crypto';
import { Body, Controller, Headers, HttpCode, HttpException, Post, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DataSource } from 'typeorm';
import { Bank, type Charge, type NewCharge } from './bank.js';

export const title = 'A lease';
const LEASE = `${process.env['IDEMPOTENCY_LEASE_SECONDS'] ?? 30} seconds`;

/** Step 5: a claim ends after some seconds, and another attempt takes over. The first attempt may only have been frozen, and continue. */
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
        INSERT INTO lab_step_5.processed_requests AS held (idempotency_key, request_body, charge_id, locked_until)
        VALUES (${key}, ${JSON.stringify(body)}, ${randomUUID()}, clock_timestamp() + ${LEASE}::interval)
        ON CONFLICT (idempotency_key) DO UPDATE SET locked_until = excluded.locked_until
        WHERE held.response_body IS NULL AND held.request_body = excluded.request_body
          AND held.locked_until < clock_timestamp() RETURNING charge_id`;
      if (!claimed) return undefined;
      await tx.sql`
        INSERT INTO lab_step_5.charges (id, amount, currency, status)
        VALUES (${claimed.charge_id}, ${body.amount}, ${body.currency}, 'pending') ON CONFLICT DO NOTHING`;
      return claimed.charge_id;
    });
  }

  private complete(key: string, id: string): Promise<Charge> {
    return this.db.transaction(async (tx) => {
      const [[charge]] = await tx.sql<[[Charge], number]>`
        UPDATE lab_step_5.charges SET status = 'succeeded', settled_at = clock_timestamp() WHERE id = ${id} RETURNING *`;
      await tx.sql`
        UPDATE lab_step_5.processed_requests SET response_body = ${JSON.stringify(charge)} WHERE idempotency_key = ${key}`;
      return charge;
    });
  }

  private async replay(key: string, body: NewCharge, response: FastifyReply): Promise<Charge> {
    const [known] = await this.db.sql<[{ request_body: string; response_body: string | null }]>`
      SELECT request_body, response_body FROM lab_step_5.processed_requests WHERE idempotency_key = ${key}`;
    if (known.request_body !== JSON.stringify(body)) throw new HttpException('Another request has the key', 422);
    if (known.response_body === null) throw new HttpException('The request is in progress. Try again.', 409);
    void response.header('Idempotent-Replayed', 'true');
    return JSON.parse(known.response_body) as Charge;
  }
}

export const schema = `
  CREATE SCHEMA lab_step_5;
  CREATE TABLE lab_step_5.charges (
    id uuid PRIMARY KEY, amount integer NOT NULL, currency text NOT NULL, status text NOT NULL, settled_at timestamptz
  );
  CREATE TABLE lab_step_5.processed_requests (
    idempotency_key text PRIMARY KEY, request_body text NOT NULL, charge_id uuid NOT NULL,
    locked_until timestamptz NOT NULL, response_body text
  );`;
