import type { Type } from '@nestjs/common';

/**
 * Metadata of an idempotent handler: whether its key is `required` or `optional`. The interceptor, `WiringCheck` and the OpenAPI document
 * read it.
 */
export const IDEMPOTENT = 'idempotency:idempotent';

/** Metadata of an idempotent handler: the headers that belong to the request, beside the body. */
export const MEANINGFUL_HEADERS = 'idempotency:meaningful-headers';

/** Metadata of an idempotent handler that claims: the method of a service that resumes its requests. */
export const RESUMED_BY = 'idempotency:resumed-by';

/** A service, and the name of its method. */
export type ResumedBy = readonly [service: Type, method: string];
