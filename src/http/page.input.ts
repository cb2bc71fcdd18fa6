import { ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsOptional, Max, Min } from 'class-validator';

/**
 * Size in bytes at which a page ends. The row that reaches this size is the last row of the page. 100 ordinary charges or orders are
 * smaller. 100 large charges have 11 MB, and a process that is busy with such pages could not serve other accounts.
 */
export const PAGE_BYTES = 256 * 1_024;

/** The query of a list. `limit` is the maximum number of rows of a page. */
export class PageQuery {
  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: 100,
    default: 10,
    description: 'The maximum number of items. A page of large items has fewer',
  })
  @IsOptional()
  @Type(() => Number)
  @Max(100, { message: 'expected at most 100' })
  @Min(1, { message: 'expected at least 1' })
  @IsInt({ message: 'expected an integer' })
  limit = 10;
}
