import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform, Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsInt,
  IsISO4217CurrencyCode,
  IsObject,
  IsOptional,
  Matches,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import { CLIENT_ID, CLIENT_ID_EXPECTED } from '../../http/client-id.pipe.js';
import { PageQuery } from '../../http/page.input.js';

const MAX_LINES = 100;
/** With the most lines at the highest price it comes to less than 10 ** 15, which a double holds exactly. */
const MAX_QUANTITY = 100_000;
const LINE_EXPECTED = 'expected objects with item_id, quantity and unit_amount';

/** What is ordered of one item. */
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
    description: 'In minor units of the currency',
  })
  @Max(99_999_999, { message: 'expected at most 99999999' })
  @Min(0, { message: 'expected at least 0' })
  @IsInt({ message: 'expected an integer number of minor units, such as 1250 for 12.50' })
  unit_amount!: number;
}

/** The body of `POST /orders`. */
export class PlaceOrder {
  @ApiProperty({
    example: 'order_12345',
    pattern: CLIENT_ID.source,
    description: 'Your own name for the order: the same for every retry of it',
  })
  @Matches(CLIENT_ID, { message: CLIENT_ID_EXPECTED })
  order_id!: string;

  @ApiProperty({ type: [OrderLineInput], minItems: 1, maxItems: MAX_LINES })
  @Type(() => OrderLineInput)
  @ValidateNested({ each: true, message: LINE_EXPECTED })
  @IsObject({ each: true, message: LINE_EXPECTED })
  @ArrayUnique((line: OrderLineInput | undefined) => line?.item_id, { message: 'expected each item once' })
  @ArrayMaxSize(MAX_LINES, { message: `expected at most ${MAX_LINES} items` })
  @ArrayMinSize(1, { message: 'expected at least one item' })
  @IsArray({ message: 'expected a list of items' })
  items!: OrderLineInput[];

  @ApiPropertyOptional({
    nullable: true,
    example: 'eur',
    default: 'eur',
    pattern: '^[A-Za-z]{3}$',
    description: 'ISO 4217, in either case',
  })
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.toLowerCase() : value))
  @IsOptional()
  // The list of codes alone would accept 'uſd', which the database refuses, because it compares in upper case: 'USD'.
  @Matches(/^[a-z]{3}$/, { message: 'expected an ISO 4217 code such as eur' })
  @IsISO4217CurrencyCode({ message: 'expected an ISO 4217 code such as eur' })
  currency?: string;

  @ApiPropertyOptional({ nullable: true, example: 'cus_ada', pattern: CLIENT_ID.source })
  @IsOptional()
  @Matches(CLIENT_ID, { message: CLIENT_ID_EXPECTED })
  customer_id?: string;
}

/** The query of `GET /orders`: a page of at most `limit`, newest first, older than `starting_after`. */
export class ListOrders extends PageQuery {
  @ApiPropertyOptional({ pattern: CLIENT_ID.source, description: 'The last order_id of the page before' })
  @IsOptional()
  @Matches(CLIENT_ID, { message: CLIENT_ID_EXPECTED })
  starting_after?: string;
}
