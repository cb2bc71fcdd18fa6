/** A kind of mixed request: a charge with a new key, a charge whose key is recorded already, or an order. */
export type MixedRequest = 'fresh' | 'replay' | 'order';

/** The order of mixed requests, which repeats after ten: 70 % fresh charges, 20 % replays, 10 % orders. */
const MIX: readonly MixedRequest[] = [
  ...['fresh', 'fresh', 'replay', 'fresh', 'fresh'],
  ...['order', 'fresh', 'replay', 'fresh', 'fresh'],
] as MixedRequest[];

/** The kind of a request by its number, from 0. */
export const mixedRequest = (number: number): MixedRequest => MIX[number % MIX.length] as MixedRequest;

/** How many of the first `requests` requests are of a kind. */
export function countOf(kind: MixedRequest, requests: number): number {
  const inTurn = (length: number) => MIX.slice(0, length).filter((one) => one === kind).length;
  return Math.floor(requests / MIX.length) * inTurn(MIX.length) + inTurn(requests % MIX.length);
}
