import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional, Matches } from 'class-validator';
import { CLIENT_ID, CLIENT_ID_EXPECTED } from '../../http/client-id.pipe.js';
import { PageQuery } from '../../http/page.input.js';

/** The query of `GET /orders`: a page of at most `limit` orders, newest first, all older than `starting_after`. */
export class ListOrders extends PageQuery {
  @ApiPropertyOptional({ pattern: CLIENT_ID.source, description: 'The last order_id of the previous page' })
  @IsOptional()
  @Matches(CLIENT_ID, { message: CLIENT_ID_EXPECTED })
  starting_after?: string;
}
