import { expect } from '@jest/globals';
import { type Answer, expectProblem } from '../support/wire.js';
import type { Ledger, OpenRefund } from './ledger.js';
import type { Json, Request } from './requests.js';

/**
 * Judges the answer to POST /charges/:id/refunds, and notes its effect in the ledger.
 *
 * @param isResumed whether an earlier attempt is unfinished
 * @returns true if the answer is final
 */
export function judge(ledger: Ledger, { id = '', key = '', body = {} }: Request, answer: Answer, isResumed: boolean) {
  const open = ledger.openRefunds.get(key);
  if (isResumed && open) {
    finish(ledger, key, open);
    see(ledger, open, body, answer);
    return true;
  }
  const charge = ledger.charges.get(id);
  if (!charge) {
    expect(expectProblem(answer, 404, 'not_found')['outcome']).toBe('final');
    return true;
  }
  const { succeeded, pending } = sumsOf(ledger, id);
  const left = charge.status === 'succeeded' ? charge.amount - succeeded - pending : 0;
  const amount = (body['amount'] as number | null | undefined) ?? left;
  if (amount > left || left === 0) {
    expect(expectProblem(answer, 409, 'refund_exceeds_charge')).toMatchObject({ refundable: left, outcome: 'final' });
    return true;
  }
  const refund = { chargeId: id, amount, currency: charge.currency };
  ledger.sums.set(id, { succeeded, pending: pending + amount });
  if (ledger.lossy.has(id)) {
    expect(expectProblem(answer, 504, 'gateway_timeout')['outcome']).toBe('unknown');
    ledger.openRefunds.set(key, refund);
    return false;
  }
  finish(ledger, key, refund);
  see(ledger, refund, body, answer);
  return true;
}

/** Notes the refund of an answer, which the client sees for the first time. */
function see(ledger: Ledger, refund: OpenRefund, body: Record<string, Json>, answer: Answer): void {
  expect(answer.status).toBe(200);
  const { id } = JSON.parse(answer.text) as { id: string };
  expect(JSON.parse(answer.text)).toEqual({
    id: expect.stringMatching(/^re_[0-9a-f]{32}$/),
    object: 'refund',
    charge_id: refund.chargeId,
    amount: refund.amount,
    currency: refund.currency,
    status: 'succeeded',
    reason: body['reason'] ?? null,
    created_at: expect.stringMatching(/^\d{4}-.*Z$/),
  });
  expect([...ledger.refunds.keys()]).not.toContain(id);
  ledger.refunds.set(id, { charge_id: refund.chargeId, amount: refund.amount, currency: refund.currency });
}

/** Notes the refund of a replay that recovery has finished, so the client sees its id for the first time. */
export function seeRecovered(ledger: Ledger, key: string, body: Record<string, Json> = {}, answer: Answer): void {
  const refund = ledger.recoveredRefunds.get(key);
  if (!refund) throw new Error(`Recovery has finished no refund with the key ${key}`);
  ledger.recoveredRefunds.delete(key);
  see(ledger, refund, body, answer);
}

/** Marks the unfinished refunds, which the bank has paid, as finished by recovery. @returns their number */
export function recover(ledger: Ledger): number {
  const unfinished = [...ledger.openRefunds];
  for (const [key, refund] of unfinished) {
    const held = ledger.keys.get(key);
    if (held) held.reply = 'unseen';
    finish(ledger, key, refund);
    // The key of an earlier refund may have expired before a client saw its reply. That refund is still counted.
    const earlier = ledger.recoveredRefunds.get(key);
    if (earlier) ledger.recoveredRefunds.set(`${key}, expired ${ledger.recoveredRefunds.size}`, earlier);
    ledger.recoveredRefunds.set(key, refund);
  }
  return unfinished.length;
}

/** Counts a pending refund as succeeded. */
function finish(ledger: Ledger, key: string, { chargeId, amount, currency }: OpenRefund): void {
  const { succeeded, pending } = sumsOf(ledger, chargeId);
  ledger.sums.set(chargeId, { succeeded: succeeded + amount, pending: pending - amount });
  ledger.openRefunds.delete(key);
  ledger.undelivered.push({ amount: -amount, currency, order_id: null });
}

/** Judges GET /charges/:id, as far as it shows refunds. */
export function judgeCharge(ledger: Ledger, { id = '' }: Request, answer: Answer): void {
  const charge = ledger.charges.get(id);
  if (!charge) return void expectProblem(answer, 404, 'not_found');
  expect(answer.status).toBe(200);
  const amount_refunded = sumsOf(ledger, id).succeeded;
  expect(JSON.parse(answer.text)).toMatchObject({ id, ...charge, amount_refunded });
}

const sumsOf = ({ sums }: Ledger, chargeId: string) => sums.get(chargeId) ?? { succeeded: 0, pending: 0 };
