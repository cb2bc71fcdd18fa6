import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform, Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  IsArray,
  IsISO4217CurrencyCode,
  IsObject,
  IsOptional,
  Matches,
  ValidateNested,
} from 'class-validator';
import { CLIENT_ID, CLIENT_ID_EXPECTED } from '../../http/client-id.pipe.js';
import { OrderLineInput } from './order-line.dto.js';

const MAX_LINES = 100;
const LINE_EXPECTED = 'expected objects with item_id, quantity and unit_amount';

/** The body of `POST /orders`. */
export class PlaceOrder {
  @ApiProperty({
    example: 'docs_order_1',
    pattern: CLIENT_ID.source,
    description: 'Your name for the order. Send the same name with every retry.',
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
    description: 'ISO 4217, in upper or lower case',
  })
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.toLowerCase() : value))
  @IsOptional()
  // The list of currency codes is compared in upper case, so it would accept 'uſd', which becomes 'USD'. The database
  // would then refuse 'uſd'.
  @Matches(/^[a-z]{3}$/, { message: 'expected an ISO 4217 code such as eur' })
  @IsISO4217CurrencyCode({ message: 'expected an ISO 4217 code such as eur' })
  currency?: string;

  @ApiPropertyOptional({ nullable: true, example: 'cus_ada', pattern: CLIENT_ID.source })
  @IsOptional()
  @Matches(CLIENT_ID, { message: CLIENT_ID_EXPECTED })
  customer_id?: string;
}
