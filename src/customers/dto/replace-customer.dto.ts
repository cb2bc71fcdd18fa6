import { ApiProperty } from '@nestjs/swagger';
import { IsEmail, IsIn, IsString } from 'class-validator';
import { HasLength } from '../../http/text-length.js';
import type { CustomerStatus } from '../customer.entity.js';

const STATUSES: CustomerStatus[] = ['active', 'inactive'];

/** The body of `PUT /customers/:id`: the complete customer. */
export class ReplaceCustomer {
  @ApiProperty({ example: 'Ada Lovelace', minLength: 1, maxLength: 255 })
  @HasLength(1, 255)
  @IsString({ message: 'expected text' })
  name!: string;

  @ApiProperty({ example: 'ada@example.com', format: 'email' })
  @IsEmail({}, { message: 'expected an email address' })
  email!: string;

  @ApiProperty({ enum: STATUSES })
  @IsIn(STATUSES, { message: `expected one of ${STATUSES.join(', ')}` })
  status!: CustomerStatus;
}
