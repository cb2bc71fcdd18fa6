import { ApiProperty } from '@nestjs/swagger';
import { IsInt, Max, Min } from 'class-validator';

/** The body of `PUT /inventory/:item_id`. The stock is an absolute number, so that setting it is idempotent. */
export class SetStock {
  @ApiProperty({
    type: 'integer',
    example: 10,
    minimum: 0,
    maximum: 999_999_999,
    description: 'New number of pieces in stock',
  })
  @Max(999_999_999, { message: 'expected at most 999999999' })
  @Min(0, { message: 'expected at least 0' })
  @IsInt({ message: 'expected an integer number of pieces' })
  stock!: number;
}
