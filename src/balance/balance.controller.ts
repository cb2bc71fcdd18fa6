import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ApiProblems } from '../http/openapi.decorators.js';
import { Balance } from './balance.entity.js';

/** What charges in one currency come to. */
export class CurrencyBalance {
  @ApiProperty({ example: 'eur' })
  currency!: string;

  @ApiProperty({ type: 'integer', example: 1999, description: 'In minor units of the currency, such as cents' })
  amount!: number;
}

export class BalanceResource {
  @ApiProperty({ type: [CurrencyBalance] })
  balances!: CurrencyBalance[];
}

@ApiTags('balance')
@ApiBearerAuth()
@Controller('balance')
export class BalanceController {
  constructor(@InjectRepository(Balance) private readonly balances: Repository<Balance>) {}

  @Get()
  @ApiOperation({
    summary: 'Read what your charges come to',
    description: 'Fed by messages, each counted once. So it follows the charges a moment later.',
  })
  @ApiOkResponse({ type: BalanceResource })
  @ApiProblems('unauthorized', 'database_unavailable')
  async read(@CurrentAccount() accountId: string): Promise<BalanceResource> {
    const found = await this.balances.find({ where: { account_id: accountId }, order: { currency: 'ASC' } });
    return { balances: found.map(({ currency, amount }) => ({ currency, amount })) };
  }
}
