import { type Operation, parse, type Reply } from '../history.js';
import { RESOLVED_AS_FAILED } from '../person.js';
import { LEASE_MS } from '../timing.js';
import { acknowledged, contentOf, isRefund, type Story } from './stories.js';
import type { Report } from './verdict.js';

/** Compares all answers to one operation with one another and with the contract. */
export function checkReplies(story: Story, stories: readonly Story[], report: Report): void {
  const { operation, attempts, recorded } = story;
  const { id, key, account } = operation;
  for (const { reason } of attempts) {
    if (reason?.startsWith('500')) report('as documented', `${id}: answered with ${reason}`);
  }
  const replies = acknowledged(story);
  for (const { reply } of replies) {
    const content = parse(reply.body);
    if ([content['decline_code'], content['failure_code']].includes(RESOLVED_AS_FAILED)) continue;
    if (!isExpected(operation, reply)) {
      const twin = stories.some(({ operation: other }) => other.key === key && other.account !== account);
      const isBlocked = twin && content['code'] === 'idempotency_key_reused';
      report(isBlocked ? 'accounts do not cross' : 'as documented', `${id}: answered with ${contentOf(reply)}`);
    } else if (reply.status === 200) {
      const whose = isRefund(operation) ? 'reason' : operation.path === '/charges' ? 'description' : 'customer_id';
      if (content[whose] !== id)
        report('accounts do not cross', `${id}: received the reply of ${String(content[whose])}`);
    }
  }
  if (key === undefined) return checkNatural(id, replies, report);
  if (recorded) checkExpiry(id, recorded, replies, report);
  // After a reply has expired, the key stands for a new request with a reply of its own.
  const current = replies.filter(({ reply }) => !isOld(reply, recorded));
  const different = new Set(current.map(({ reply }) => contentOf(reply)));
  if (different.size > 1) report('same reply', `${id}: ${[...different].join(' and ')}`);
  // Only the attempt that executed the request receives the reply without the replay header.
  const makers = replies.filter(({ reply }) => !reply.replayed);
  const firstEnd = Math.min(...current.map(({ endedAt }) => endedAt));
  if (makers.length > 1 || makers.some(({ invokedAt, reply }) => isOld(reply, recorded) || invokedAt > firstEnd)) {
    report('final is final', `${id}: executed again after it had been answered`);
  }
}

/** Whether a final answer is one of those that the operation can get. `checkRefund` checks whether a refusal was right. */
function isExpected(operation: Operation, { status, body }: Reply): boolean {
  if (isRefund(operation)) return status === 200 || parse(body)['code'] === 'refund_exceeds_charge';
  return status === (operation.body['source'] === 'tok_chargeDeclined' ? 402 : 200);
}

/**
 * A reply is replayed until it expires and not later. The exception is a request that was in flight when the reply expired: it gives
 * the old reply to the duplicates that wait for it, for at most a lease.
 */
function checkExpiry(id: string, recorded: Recorded, replies: Acknowledged[], report: Report): void {
  const { expiresAt } = recorded;
  for (const { invokedAt, endedAt, reply } of replies) {
    const old = isOld(reply, recorded);
    if (endedAt < expiresAt && !old) {
      report('same reply', `${id}: ${contentOf(reply)} instead of ${contentOf(recorded.reply)}, which had not expired`);
    }
    if (invokedAt > expiresAt + LEASE_MS && old) report('as documented', `${id}: replayed long after it had expired`);
  }
}

/** The answer to an order without a key is its current state. Only the status changes, once, from placed to paid. */
function checkNatural(id: string, replies: Acknowledged[], report: Report): void {
  const orders = replies.flatMap(({ invokedAt, endedAt, reply }) => {
    const { status, paid_at, ...rest } = parse(reply.body);
    return reply.status === 200 ? [{ invokedAt, endedAt, paid: paid_at, status, rest: JSON.stringify(rest) }] : [];
  });
  const paid = orders.filter(({ status }) => status === 'paid');
  const paidAt = Math.min(...paid.map(({ endedAt }) => endedAt));
  if (orders.some(({ status, invokedAt }) => status !== 'paid' && invokedAt > paidAt))
    report('final is final', `${id}: no longer paid after it had been paid`);
  for (const seen of [orders.map(({ rest }) => rest), paid.map((order) => String(order.paid))]) {
    if (new Set(seen).size > 1) report('same reply', `${id}: ${[...new Set(seen)].join(' and ')}`);
  }
}

type Recorded = NonNullable<Story['recorded']>;
type Acknowledged = ReturnType<typeof acknowledged>[number];

const isOld = (reply: Reply, recorded?: Recorded) =>
  recorded !== undefined && contentOf(reply) === contentOf(recorded.reply);
