import { PartialType } from '@nestjs/swagger';
import { ReplaceCustomer } from './replace-customer.dto.js';

/**
 * The body of `PATCH /customers/:id`: the members to change. `null` is refused, because every customer has a name, an
 * email address and a status.
 */
export class ChangeCustomer extends PartialType(ReplaceCustomer, { skipNullProperties: false }) {}
