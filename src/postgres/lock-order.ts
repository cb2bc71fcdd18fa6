/**
 * The order in which transactions lock rows. Two transactions that lock the same rows in the same order cannot deadlock, so every list of
 * rows that one transaction writes is sorted by {@link inLockOrder} first.
 */

/** Joins an account and a name within the account into one string. The length prefix keeps ('a', 'bc') and ('ab', 'c') apart. */
export const nameWithin = (accountId: string, own: string) => `${accountId.length}:${accountId}${own}`;

/**
 * Sorts items by name, in UTF-16 code units. `unnest` and `jsonb_populate_recordset` keep this order when SQL gets the list as a parameter.
 *
 * @param nameOf returns a name from {@link nameWithin}, because names must be unique across accounts
 */
export const inLockOrder = <T>(items: readonly T[], nameOf: (item: T) => string): T[] =>
  items.toSorted((a, b) => compare(nameOf(a), nameOf(b)));

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
