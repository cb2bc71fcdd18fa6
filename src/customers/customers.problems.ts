import { Problem } from '../http/problem.js';
import type { Customer } from './customer.entity.js';
import { etagOf } from './dto/customer.resource.js';

/**
 * @param outcome `final` if the reply is recorded under an idempotency key, because then a retry gets the same reply
 */
export const customerNotFound = (outcome: 'final' | 'not_started') =>
  new Problem('not_found', 'There is no customer with this id.', { outcome });

/**
 * 412 (RFC 9110 §15.5.13) with the current `ETag`.
 *
 * @param current the customer as it is now; `undefined` if it does not exist
 */
export const versionMismatch = (current: Customer | undefined) =>
  new Problem(
    'version_mismatch',
    current
      ? 'The customer has been changed since the version in If-Match was read.'
      : 'The customer does not exist, so it has no version that If-Match could match.',
    { outcome: 'final', headers: current && { etag: etagOf(current) } },
  );

/** 428 (RFC 6585 §3): a change without `If-Match` could overwrite a version that the client has not read. */
export const versionRequired = () =>
  new Problem('version_required', 'Expected an If-Match header with the ETag of the customer to change, such as "1".');
