import { ApiProperty } from '@nestjs/swagger';
import { IsInt, Matches, Max, Min } from 'class-validator';
import { CLIENT_ID, CLIENT_ID_EXPECTED } from '../../http/client-id.pipe.js';

/**
 * Maximum quantity of one line. An order of 100 lines with this quantity at the highest price costs less than 10 ** 15,
 * which a double holds exactly.
 */
const MAX_QUANTITY = 100_000;

/** One item of an order, with its quantity and its price. */
export class OrderLineInput {
  @ApiProperty({ example: 'espresso_beans', pattern: CLIENT_ID.source })
  @Matches(CLIENT_ID, { message: CLIENT_ID_EXPECTED })
  item_id!: string;

  @ApiProperty({ type: 'integer', example: 2, minimum: 1, maximum: MAX_QUANTITY })
  @Max(MAX_QUANTITY, { message: `expected at most ${MAX_QUANTITY}` })
  @Min(1, { message: 'expected at least 1' })
  @IsInt({ message: 'expected an integer number of pieces' })
  quantity!: number;

  @ApiProperty({
    type: 'integer',
    example: 1250,
    minimum: 0,
    maximum: 99_999_999,
    description: 'Price of one piece, in minor units of the currency',
  })
  @Max(99_999_999, { message: 'expected at most 99999999' })
  @Min(0, { message: 'expected at least 0' })
  @IsInt({ message: 'expected an integer number of minor units, such as 1250 for 12.50' })
  unit_amount!: number;
}
