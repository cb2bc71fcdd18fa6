import { ApiProperty } from '@nestjs/swagger';
import type { Customer } from '../customer.entity.js';

/** A customer in the form that clients receive. Its version is also its `ETag`. */
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

  @ApiProperty({
    type: 'integer',
    example: 1,
    description: 'Increases with every change. The ETag is this number in double quotes',
  })
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

/**
 * The `ETag` of a customer. It is a strong validator (RFC 9110 §8.8.3), because one version always has the same bytes.
 */
export const etagOf = ({ version }: Pick<Customer, 'version'>) => `"${version}"`;
