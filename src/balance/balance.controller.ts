import { Controller, Get } from '@nestjs/common';
import { ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentAccount } from '../accounts/account.decorator.js';
import { ApiProblems } from '../http/openapi.decorators.js';
import { BalanceService } from './balance.service.js';
import { BalanceResource } from './dto/balance.resource.js';

@ApiTags('balance')
@ApiBearerAuth()
@Controller('balance')
export class BalanceController {
  constructor(private readonly balance: BalanceService) {}

  @Get()
  @ApiOperation({
    summary: 'Read your balance',
    description:
      'The sum of your successful charges in each currency, less their refunds. Messages update it and each message counts once, so the balance follows a charge or a refund after a short delay. It can be negative for a moment, because the message of a refund can arrive before the message of its charge.',
  })
  @ApiOkResponse({ type: BalanceResource })
  @ApiProblems('unauthorized', 'database_unavailable')
  read(@CurrentAccount() accountId: string): Promise<BalanceResource> {
    return this.balance.read(accountId);
  }
}
