import { ApiProperty } from '@nestjs/swagger';
import { CurrencyBalance } from './currency-balance.resource.js';

/** The balance of an account in each of its currencies. */
export class BalanceResource {
  @ApiProperty({ type: [CurrencyBalance] })
  balances!: CurrencyBalance[];
}
