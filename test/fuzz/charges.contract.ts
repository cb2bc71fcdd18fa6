import { expect } from '@jest/globals';
import { type Answer, expectProblem } from '../support/wire.js';
import type { Charge, Ledger } from './ledger.js';
import type { Json, Request } from './requests.js';

const DECLINES: Record<string, string> = {
  tok_chargeDeclined: 'generic_decline',
  tok_insufficientFunds: 'insufficient_funds',
};

/**
 * Judges the answer to POST /charges, and notes its effect in the ledger.
 *
 * @param isResumed whether an earlier attempt is unfinished
 * @returns true if the answer is final
 */
export function judge(ledger: Ledger, { body = {} }: Request, answer: Answer, isResumed: boolean): boolean {
  const source = sourceOf(body);
  if (source === 'tok_unavailable' || (source === 'tok_timeout' && !isResumed)) {
    const isLost = source === 'tok_timeout';
    const problem = expectProblem(answer, isLost ? 504 : 503, isLost ? 'gateway_timeout' : 'gateway_unavailable');
    expect(problem['outcome']).toBe('unknown');
    return false;
  }
  const decline_code = DECLINES[source] ?? null;
  if (decline_code === null) {
    see(ledger, body, answer, true);
    ledger.undelivered.push(amountsOf(body));
    return true;
  }
  const problem = expectProblem(answer, 402, 'card_declined');
  expect(problem).toMatchObject({ outcome: 'final', decline_code });
  keep(ledger, problem['charge_id'] as string, { status: 'failed', ...amountsOf(body) });
  return true;
}

/** Notes a charge that the client sees for the first time. @param isOurs true if the request made it, false if recovery did */
export function see(ledger: Ledger, body: Record<string, Json> = {}, answer: Answer, isOurs = false): void {
  expect(answer.status).toBe(200);
  const charge = JSON.parse(answer.text) as { id: string };
  const { description = null, metadata = {} } = body;
  expect(charge).toEqual({
    id: expect.stringMatching(/^ch_[0-9a-f]{32}$/),
    object: 'charge',
    amount_refunded: 0,
    dispute: null,
    status: 'succeeded',
    decline_code: null,
    source: sourceOf(body),
    description,
    metadata,
    created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    ...amountsOf(body),
  });
  keep(ledger, charge.id, { status: 'succeeded', ...amountsOf(body) });
  if (sourceOf(body) === 'tok_timeout') ledger.lossy.add(charge.id);
  if (!isOurs) ledger.unseenCharges--;
}

function keep({ charges }: Ledger, id: string, charge: Charge): void {
  expect([...charges.keys()]).not.toContain(id);
  charges.set(id, charge);
}

/** Marks the unfinished charges that the bank has captured as finished by recovery. @returns their number */
export function recover(ledger: Ledger): number {
  const charges = [...ledger.keys.values()].filter(({ operation }) => operation === 'POST /charges');
  const unfinished = charges.filter(({ reply }) => reply === undefined);
  const captured = unfinished.filter(({ body = {} }) => sourceOf(body) === 'tok_timeout');
  for (const held of captured) {
    held.reply = 'unseen';
    ledger.unseenCharges++;
    ledger.undelivered.push(amountsOf(held.body ?? {}));
  }
  return captured.length;
}

const sourceOf = ({ source = 'tok_visa' }: Record<string, Json>) => source as string;

const amountsOf = ({ amount, currency, order_id = null as never }: Record<string, Json>): Omit<Charge, 'status'> => ({
  amount: amount as number,
  currency: (currency as string).toLowerCase(),
  order_id: order_id as string | null,
});
