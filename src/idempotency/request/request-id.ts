import { v7 } from 'uuid';

/**
 * A new version 7 UUID, RFC 9562 §5.7: 48 bits of Unix milliseconds, a counter within the millisecond, then random bits.
 *
 * An id sorts after every earlier id of the same process, and after the ids that other processes made in earlier milliseconds. Because of
 * this order, new rows are neighbours in the index, and a list can be paged by id.
 */
export const newRequestId = (): string => v7();
