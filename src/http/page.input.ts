import { ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, Max, Min } from 'class-validator';

/**
 * More than 100 ordinary charges or orders have. A page ends with the row that brings it to so many bytes, because 100 large charges have
 * 11 MB, and a process that is busy with such pages serves nobody else.
 */
export const PAGE_BYTES = 256 * 1_024;

/** The query of a list: a page of at most `limit`. */
export class PageQuery {
  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: 100,
    default: 10,
    description: 'A page of large ones is shorter',
  })
  @IsOptional()
  @Type(() => Number)
  @Max(100, { message: 'expected at most 100' })
  @Min(1, { message: 'expected at least 1' })
  @IsInt({ message: 'expected an integer' })
  limit = 10;
}
