import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { Balance } from './balance.entity.js';
import type { BalanceResource } from './dto/balance.resource.js';

/** Reads the balance of one account. Only `earnings.consumer.ts` writes balances. */
@Injectable()
export class BalanceService {
  constructor(@InjectRepository(Balance) private readonly balances: Repository<Balance>) {}

  /** Returns one balance for each currency, sorted by currency; none before the first message of a charge or a refund. */
  async read(accountId: string): Promise<BalanceResource> {
    const found = await this.balances.find({ where: { account_id: accountId }, order: { currency: 'ASC' } });
    return { balances: found.map(({ currency, amount }) => ({ currency, amount })) };
  }
}
