import { secretOf } from '../chaos/replicas.js';
import { accountsInBothCells } from './judge.js';
import type { Acknowledgement, Refusal, Traffic } from './traffic.js';
import type { Cell, World } from './world.js';

/** An account that is being moved must be refused for less than this. */
export const REFUSED_MS = 3_000;

/** The longest time for which an operation of a moving account was refused, in milliseconds until its own final reply. */
export async function refusedFor(
  traffic: Traffic,
  account: string,
  since: number,
): Promise<{ refusedMs: number; refusals: Refusal[] }> {
  const refusals = traffic.refusals(since).filter(({ operation }) => operation.account === account);
  const refusedMs = Math.max(0, ...(await traffic.waits(refusals)));
  expectNone(
    'other reasons than the move',
    refusals.filter(({ reason }) => reason !== '503 account_moving'),
  );
  if (refusedMs > REFUSED_MS) throw new Error(`${account} was refused for ${refusedMs} ms`);
  return { refusedMs, refusals };
}

/** Sends requests that have been acknowledged again. Returns those whose answer has another status or other bytes. */
export async function replay(port: number, acknowledged: readonly Acknowledgement[]): Promise<string[]> {
  const differing: string[] = [];
  for (const { operation, status, body } of acknowledged) {
    const answer = await send(port, operation.account, operation.path, operation.key, JSON.stringify(operation.body));
    if (answer.status !== status || (await answer.text()) !== body) differing.push(operation.id);
  }
  return differing;
}

/** Checks that a router with an old map cannot write in the old cell. */
export async function expectRefusedBy({ name, replicas, database }: Cell, account: string): Promise<void> {
  const [{ clientPort }] = replicas;
  const body = JSON.stringify({ amount: 1, currency: 'eur' });
  const answer = await send(clientPort, account, '/charges', `stale-${Date.now()}`, body);
  const { code, outcome, retryable } = (await answer.json()) as Record<string, unknown>;
  const seen = [answer.status, code, outcome, retryable].join(' ');
  if (seen !== '503 account_moving not_started true') throw new Error(`${name} answered ${seen}`);
  const [left] = await database.query('SELECT count(*)::int AS count FROM charges WHERE account_id = $1', [account]);
  if (left?.['count'] !== 0) throw new Error(`${name} has ${String(left?.['count'])} charges of ${account}`);
}

const send = (port: number, account: string, path: string, key: string | undefined, body: string) =>
  fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${secretOf(account)}`,
      'content-type': 'application/json',
      ...(key !== undefined && { 'idempotency-key': key }),
    },
    body,
  });

export async function expectOneHome(world: World): Promise<void> {
  const accounts = await accountsInBothCells(world);
  if (accounts.length > 0) throw new Error(`in both databases: ${accounts.join()}`);
}

export function expectNone(what: string, refusals: readonly Refusal[]): void {
  if (refusals.length > 0) throw new Error(`${what}: ${reasonsOf(refusals)}`);
}

/** The reasons and how often clients got them. */
export function reasonsOf(refusals: readonly Refusal[]): string {
  const counts = new Map<string, number>();
  for (const { reason } of refusals) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].map(([reason, count]) => `${count} x ${reason}`).join(', ') || 'no refusal';
}
