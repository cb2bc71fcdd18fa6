import type { Measurement } from '../measurement.js';
import { HONEST_ACCOUNTS, QUIET_ACCOUNT } from './accounts.js';
import type { Attack } from './attacks.js';
import type { TrafficJob } from './traffic.js';

/** Account B's connections, as in the measurements that found the attacks. */
export const QUIET_CONNECTIONS = 8;

/** What one sender sends, and what each request that is answered with 200 leaves in the database. */
export interface Load extends Pick<TrafficJob, 'traffic' | 'turnsAtATime' | 'turnsPerSecond'> {
  effect: Attack['effect'];
}

/** Account B's charges: the next one on each connection as soon as the one before is answered. */
export const QUIET_LOAD: Load = {
  traffic: { accounts: [QUIET_ACCOUNT], requestsOfATurn: 1 },
  turnsAtATime: QUIET_CONNECTIONS,
  effect: 'charge',
};

/** Charges of many accounts, as fast as they are answered. */
export const honestLoad = (connections: number): Load => ({
  traffic: { accounts: HONEST_ACCOUNTS, requestsOfATurn: 1 },
  turnsAtATime: connections,
  effect: 'charge',
});

export const attackLoad = ({ id, pace, effect }: Attack): Load => ({ traffic: { attack: id }, ...pace, effect });

/**
 * As many honest requests as an attack's: as many at a time, and not more a second than the attack got answers to. Without
 * the second bound, requests that are cheaper than the attack's would be more of them, and would slow account B more.
 *
 * @param attackers the attack when it was last measured
 */
export function honestEquivalent({ turn, pace }: Attack, attackers: Measurement): Load {
  const requestsOfATurn = turn(0, '').length;
  return {
    traffic: { accounts: HONEST_ACCOUNTS, requestsOfATurn },
    turnsPerSecond: attackers.requestsPerSecond / requestsOfATurn,
    ...pace,
    effect: 'charge',
  };
}
