import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsInt, IsOptional, IsString, Max, Min } from 'class-validator';
import { HasLength } from '../../../http/text-length.js';

/** The body of `POST /charges/:id/refunds`. */
export class CreateRefund {
  @ApiPropertyOptional({
    nullable: true,
    type: 'integer',
    example: 500,
    minimum: 1,
    maximum: 99_999_999,
    description: 'In minor units of the currency of the charge. Without an amount, all that is left of the charge',
  })
  @IsOptional()
  @Max(99_999_999, { message: 'expected at most 99999999' })
  @Min(1, { message: 'expected at least 1' })
  @IsInt({ message: 'expected an integer number of minor units, such as 500 for 5.00' })
  amount?: number;

  @ApiPropertyOptional({ nullable: true, example: 'One cup arrived broken', maxLength: 500 })
  @IsOptional()
  @HasLength(0, 500)
  @IsString({ message: 'expected text' })
  reason?: string;
}
