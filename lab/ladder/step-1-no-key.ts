import { randomUUID } from 'node:crypto';
import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Bank, type Charge, type NewCharge } from './bank.js';

export const title = 'No key';

/** Step 1: every request is a new charge. If the reply is lost and the client sends the request again, the customer pays twice. */
@Controller('charges')
export class ChargesController {
  constructor(
    private readonly db: DataSource,
    private readonly bank: Bank,
  ) {}

  @Post()
  @HttpCode(200)
  async create(@Body() { amount, currency }: NewCharge): Promise<Charge> {
    const id = randomUUID();
    await this.bank.capture({ id, amount, currency });
    const [charge] = await this.db.sql<[Charge]>`
      INSERT INTO lab_step_1.charges (id, amount, currency, status)
      VALUES (${id}, ${amount}, ${currency}, 'succeeded') RETURNING *`;
    return charge;
  }
}

export const schema = `
  CREATE SCHEMA lab_step_1;
  CREATE TABLE lab_step_1.charges (
    id         uuid        PRIMARY KEY,
    amount     integer     NOT NULL,
    currency   text        NOT NULL,
    status     text        NOT NULL,
    settled_at timestamptz DEFAULT clock_timestamp()
  );`;
