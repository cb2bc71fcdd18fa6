import { ApiProperty, PartialType } from '@nestjs/swagger';
import { IsEmail, IsIn, IsString, Length } from 'class-validator';
import type { CustomerStatus } from './customer.entity.js';

const STATUSES: CustomerStatus[] = ['active', 'inactive'];

/** The body of `PUT /customers/:id`: all of the customer. */
export class ReplaceCustomer {
  @ApiProperty({ example: 'Ada Lovelace', minLength: 1, maxLength: 255 })
  @Length(1, 255, { message: 'expected 1 to 255 characters' })
  @IsString({ message: 'expected text' })
  name!: string;

  @ApiProperty({ example: 'ada@example.com', format: 'email' })
  @IsEmail({}, { message: 'expected an email address' })
  email!: string;

  @ApiProperty({ enum: STATUSES })
  @IsIn(STATUSES, { message: `expected one of ${STATUSES.join(', ')}` })
  status!: CustomerStatus;
}

/** The body of `PATCH /customers/:id`: what is to change. A customer lacks nothing, so null is refused. */
export class ChangeCustomer extends PartialType(ReplaceCustomer, { skipNullProperties: false }) {}
