/**
 * The value in the middle, or the mean of the two in the middle.
 *
 * @throws RangeError if there are no values
 */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new RangeError('The median of an empty list is not defined');
  return (lower + upper) / 2;
}

/**
 * The value that a share of all values does not exceed, by the nearest rank, so it is always a measured value.
 *
 * @param share from 0 to 1, such as 0.99
 * @returns NaN if there are no values
 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}

/**
 * The median of the ratios of all rounds. A disturbance of a whole round, such as another program, slows both values down and cancels.
 *
 * @throws RangeError if there are no rounds, or if the two lists differ in length
 */
export function medianRatio(numerators: readonly number[], denominators: readonly number[]): number {
  if (numerators.length !== denominators.length) throw new RangeError('The two lists must have the same length');
  return median(numerators.map((value, round) => value / (denominators[round] ?? NaN)));
}
