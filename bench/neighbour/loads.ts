import type { Measurement } from '../measurement.js';
import { HONEST_ACCOUNTS, QUIET_ACCOUNT } from './accounts.js';
import type { Attack } from './attacks.js';
import type { TrafficJob } from './traffic.js';

/** Number of account B's connections, the same as in the measurements that first showed the attacks. */
export const QUIET_CONNECTIONS = 8;

/** After this time a neighbour has connected and is at work, so account B begins. */
export const HEAD_START_SECONDS = 0.3;

/** How long a neighbour sends requests if account B is measured for `seconds`. */
export const neighbourSeconds = (seconds: number) => HEAD_START_SECONDS + seconds;

/** The requests of one sender, and the effect of each request that is answered with 200. */
export interface Load extends Pick<TrafficJob, 'traffic' | 'turnsAtATime' | 'turnsPerSecond'> {
  effect: Attack['effect'];
}

/** Account B's charges. Each connection sends its next charge as soon as the last one is answered. */
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
 * Honest load with as many requests as the attack in the same time. For an attack with a fixed rate, honest load has the same rate. For an
 * attack that sends as fast as its answers arrive, honest load has as many turns at a time, and sends no more requests in all than the
 * attack did. Without this second bound, honest requests that are answered faster than the attack's requests would be more in number, and
 * would slow account B more.
 *
 * @param attackers the latest measurement of the attack
 */
export function honestEquivalent({ turn, pace }: Attack, attackers: Measurement, seconds: number): Load {
  const requestsOfATurn = turn(0, '').length;
  return {
    traffic: { accounts: HONEST_ACCOUNTS, requestsOfATurn },
    turnsPerSecond: attackers.sent / requestsOfATurn / neighbourSeconds(seconds),
    ...pace,
    effect: 'charge',
  };
}
