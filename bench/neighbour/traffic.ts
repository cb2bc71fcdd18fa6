import { setTimeout as pause } from 'node:timers/promises';
import type { Tally } from '../measurement.js';
import { ready, workOn } from '../worker.js';
import { type Attack, ATTACKS } from './attacks.js';
import { charge, type Outgoing, Sender } from './requests.js';

/** The requests to send to a service, and for how long. A turn is one request, or several requests that are sent at the same time. */
export interface TrafficJob {
  /** The URL of the server, without a path. */
  url: string;
  /** Either the id of the attack whose turns are sent, or the accounts for which ordinary charges are sent, one account after the other. */
  traffic: { attack: string } | { accounts: readonly string[]; requestsOfATurn: number };
  /** Maximum number of turns that wait for answers at the same time. Default: no turn waits for another turn. */
  turnsAtATime?: number;
  /** Maximum number of turns that start in a second, evenly spaced. Default: turns start as fast as answers arrive. */
  turnsPerSecond?: number;
  /** No turn starts after this time. The job still waits for the answer to every request that it has sent. */
  seconds: number;
  /** The prefix of keys and order ids, which must be new. */
  prefix: string;
}

/** The requests of each turn of a job, and the allowed statuses of their answers. */
function turnsOf({ traffic }: TrafficJob): Pick<Attack, 'turn' | 'answers'> {
  if ('attack' in traffic) {
    const attack = ATTACKS.find(({ id }) => id === traffic.attack);
    if (!attack) throw new Error(`There is no attack ${traffic.attack}`);
    return attack;
  }
  const { accounts, requestsOfATurn } = traffic;
  const chargeOf = (number: number, prefix: string) =>
    charge(accounts[number % accounts.length] ?? '', `${prefix}-${number}`);
  return {
    turn: (number, prefix) =>
      Array.from({ length: requestsOfATurn }, (_, i) => chargeOf(number * requestsOfATurn + i, prefix)),
    answers: [200],
  };
}

/** Takes turn after turn until the time is up, and waits for every answer. */
async function sendTurns(job: TrafficJob, tally: Tally): Promise<void> {
  const { turnsPerSecond = Infinity, seconds, prefix } = job;
  const { turnsAtATime = Math.ceil(turnsPerSecond * seconds) } = job;
  const { turn, answers } = turnsOf(job);
  const sender = new Sender(job.url);
  const startedAtMs = performance.now();
  const endsAtMs = startedAtMs + seconds * 1000;
  let turns = 0;

  const send = async (outgoing: Outgoing) => {
    tally.sent++;
    const sentAtMs = performance.now();
    const status = await sender.send(outgoing);
    if (status === 'none') tally.broken++;
    else tally.answerWith(status, performance.now() - sentAtMs, answers.includes(status));
  };
  const takeTurns = async () => {
    for (;;) {
      const number = turns++;
      const dueAtMs = startedAtMs + (number * 1000) / turnsPerSecond;
      if (Math.max(dueAtMs, performance.now()) >= endsAtMs) return;
      const waitMs = dueAtMs - performance.now();
      if (waitMs > 0) await pause(waitMs);
      await Promise.all(turn(number, prefix).map(send));
    }
  };
  await Promise.all(Array.from({ length: turnsAtATime }, takeTurns));
  sender.end();
}

workOn<TrafficJob>(sendTurns);
ready();
