import { v7 } from 'uuid';

/**
 * A new version 7 UUID, RFC 9562 §5.7: 48 bits of Unix milliseconds, a counter within the millisecond, then random bits.
 *
 * An id sorts after every id that the same process made before it, and after the ids that other processes made in earlier milliseconds.
 * Because of that order, new rows stay together in the index, and a list can be paged by id.
 */
export const newRequestId = (): string => v7();
