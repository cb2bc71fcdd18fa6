import { ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, Max, Min } from 'class-validator';

/** The query of a list: a page of at most `limit`. */
export class PageQuery {
  @ApiPropertyOptional({ type: 'integer', minimum: 1, maximum: 100, default: 10 })
  @IsOptional()
  @Type(() => Number)
  @Max(100, { message: 'expected at most 100' })
  @Min(1, { message: 'expected at least 1' })
  @IsInt({ message: 'expected an integer' })
  limit = 10;
}
