import { ApiProperty } from '@nestjs/swagger';

/** The balance of one currency. */
export class CurrencyBalance {
  @ApiProperty({ example: 'eur' })
  currency!: string;

  @ApiProperty({ type: 'integer', example: 1999, description: 'In minor units of the currency, such as cents' })
  amount!: number;
}
