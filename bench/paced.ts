import { Agent, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import type { Tally } from './measurement.js';

/** The interval at which due requests are sent. It is well below the time that an answer takes. */
const TICK_MS = 2;

/** One POST request. */
export interface Outgoing {
  path: string;
  body: string;
  /** The `Idempotency-Key`, if the request has one. */
  key?: string;
}

export interface PacedJob {
  /** The URL of the server, without a path. */
  url: string;
  connections: number;
  /** The number of requests to send in all. */
  total: number;
  ratePerSecond: number;
}

/**
 * Sends at a fixed rate, evenly, without waiting for answers. A latency counts from the moment at which the request was due, so that a
 * pause of the server counts for all requests that were due during the pause.
 *
 * autocannon has a fixed rate too, but it sends the requests of a second as fast as it can at the start of that second.
 */
export async function sendEvenly(job: PacedJob, next: () => Outgoing, tally: Tally): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: job.connections, scheduling: 'lifo' });
  const { total } = job;
  const startedAtMs = performance.now();
  const underWay: Promise<void>[] = [];
  while (tally.sent < total) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAtMs) * job.ratePerSecond) / 1000) + 1);
    while (tally.sent < due) {
      const dueAtMs = startedAtMs + (tally.sent++ * 1000) / job.ratePerSecond;
      underWay.push(sendOne(agent, job.url, next(), dueAtMs, tally));
    }
    await pause(TICK_MS);
  }
  await Promise.all(underWay);
  agent.destroy();
}

function sendOne(
  agent: Agent,
  url: string,
  { path, body, key }: Outgoing,
  dueAtMs: number,
  tally: Tally,
): Promise<void> {
  const headers = {
    'content-type': 'application/json',
    'content-length': body.length,
    ...(key !== undefined && { 'idempotency-key': key }),
  };
  return new Promise((resolve) => {
    const outgoing = request(`${url}${path}`, { agent, method: 'POST', headers }, (incoming) => {
      incoming.resume().once('end', () => {
        tally.answer(performance.now() - dueAtMs, incoming.statusCode === 200);
        resolve();
      });
    });
    outgoing.once('error', () => {
      tally.broken++;
      resolve();
    });
    outgoing.end(body);
  });
}
