import { Problem } from './problem.js';

/** A member of the request that is not valid, and what was expected. */
export interface FieldError {
  field: string;
  message: string;
}

/** Maximum number of errors in one answer, so that the answer does not grow with the request. */
const MAX_ERRORS = 20;

/**
 * A 400 that names the first invalid members and what was expected of them.
 *
 * @param errors all errors. Errors beyond the first 20 are only counted. A message must not repeat a value, because it could be card data.
 */
export function validationFailed(...errors: FieldError[]): Problem {
  const listed = errors.slice(0, MAX_ERRORS);
  const details = listed.map(({ field, message }) => `${field}: ${message}`);
  if (errors.length > listed.length) details.push(`and ${errors.length - listed.length} more`);
  return new Problem('validation_failed', details.join('; '), { extensions: { errors: listed } });
}
