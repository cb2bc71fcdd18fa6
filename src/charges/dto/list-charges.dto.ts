import { ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional, Matches } from 'class-validator';
import { PageQuery } from '../../http/page.input.js';

const CHARGE_ID = /^ch_[0-9a-f]{32}$/;

/** The query of `GET /charges`: at most `limit` charges that are older than `starting_after`. */
export class ListCharges extends PageQuery {
  @ApiPropertyOptional({ pattern: CHARGE_ID.source, description: 'The last id of the previous page' })
  @IsOptional()
  @Matches(CHARGE_ID, { message: 'expected the id of a charge' })
  starting_after?: string;
}
