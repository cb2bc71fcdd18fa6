/**
 * The value in the middle, or the mean of the two in the middle.
 *
 * @throws RangeError without values
 */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new RangeError('There is no median of nothing');
  return (lower + upper) / 2;
}

/**
 * The value that a share of all values does not exceed, by the nearest rank: always one that was measured.
 *
 * @param share from 0 to 1, such as 0.99
 * @returns NaN without values
 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}

/**
 * How many times as much one was as the other: divided round by round, then the median. What slowed a whole round
 * down, such as another program, slowed both down and cancels.
 *
 * @throws RangeError when there are no rounds, or not as many of one as of the other
 */
export function medianRatio(numerators: readonly number[], denominators: readonly number[]): number {
  if (numerators.length !== denominators.length) throw new RangeError('Every round must have measured both');
  return median(numerators.map((value, round) => value / (denominators[round] ?? NaN)));
}
