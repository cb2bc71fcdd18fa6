import { ApiProperty } from '@nestjs/swagger';
import type { Customer } from '../customer.entity.js';

/** A customer as clients see it. Its version is its `ETag`. */
export class CustomerResource {
  @ApiProperty({ example: 'cus_ada' })
  id!: string;

  @ApiProperty({ enum: ['customer'] })
  object!: 'customer';

  @ApiProperty({ example: 'Ada Lovelace' })
  name!: string;

  @ApiProperty({ example: 'ada@example.com' })
  email!: string;

  @ApiProperty({ enum: ['active', 'inactive'] })
  status!: string;

  @ApiProperty({ type: 'integer', example: 1, description: 'What If-Match is compared with' })
  version!: number;
}

export const toResource = ({ id, name, email, status, version }: Customer): CustomerResource => ({
  id,
  object: 'customer',
  name: name ?? '',
  email: email ?? '',
  status: status ?? '',
  version,
});

/** RFC 9110 §8.8.3: a strong validator, since the same version is the same bytes. */
export const etagOf = ({ version }: Pick<Customer, 'version'>) => `"${version}"`;
