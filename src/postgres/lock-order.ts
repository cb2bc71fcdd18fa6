/**
 * The order in which transactions lock rows. Two transactions that lock the same rows in the same order cannot deadlock, so every list of
 * rows that one transaction writes is sorted by {@link inLockOrder} first.
 */

/** Joins an account and a name within the account into one string. The length prefix keeps ('a', 'bc') and ('ab', 'c') apart. */
export const nameWithin = (accountId: string, own: string) => `${accountId.length}:${accountId}${own}`;

/**
 * Sorts items by name, in UTF-16 code units. SQL that gets the list through `unnest` or `jsonb_populate_recordset` keeps its order.
 *
 * @param nameOf as {@link nameWithin} makes it, so that names are unique across accounts
 */
export const inLockOrder = <T>(items: readonly T[], nameOf: (item: T) => string): T[] =>
  items.toSorted((a, b) => compare(nameOf(a), nameOf(b)));

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
