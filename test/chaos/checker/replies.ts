import { parse, type Reply } from '../history.js';
import { LEASE_MS } from '../timing.js';
import { acknowledged, contentOf, type Story } from './stories.js';
import type { Report } from './verdict.js';

/** What the clients of one operation saw, held against itself. */
export function checkReplies(story: Story, stories: readonly Story[], report: Report): void {
  const { operation, attempts, recorded } = story;
  const { id, path, key, account } = operation;
  const expected = operation.body['source'] === 'tok_chargeDeclined' ? 402 : 200;
  for (const { reason } of attempts) {
    if (reason?.startsWith('500')) report('as documented', `${id}: answered with ${reason}`);
  }
  const replies = acknowledged(story);
  for (const { reply } of replies) {
    const content = parse(reply.body);
    if (reply.status !== expected) {
      const twin = stories.some(({ operation: other }) => other.key === key && other.account !== account);
      const isBlocked = twin && content['code'] === 'idempotency_key_reused';
      report(isBlocked ? 'accounts do not cross' : 'as documented', `${id}: answered with ${contentOf(reply)}`);
    } else if (reply.status === 200) {
      const whose = path === '/charges' ? content['description'] : content['customer_id'];
      if (whose !== id) report('accounts do not cross', `${id}: got the reply of ${String(whose)}`);
    }
  }
  if (key === undefined) return checkNatural(id, replies, report);
  if (recorded) checkExpiry(id, recorded, replies, report);
  // A reply that has expired meanwhile is another story than the one after it.
  const anew = replies.filter(({ reply }) => !isOld(reply, recorded));
  const different = new Set(anew.map(({ reply }) => contentOf(reply)));
  if (different.size > 1) report('same reply', `${id}: ${[...different].join(' and ')}`);
  // Who made the reply gets it as his own, and nobody else does.
  const makers = replies.filter(({ reply }) => !reply.replayed);
  const firstEnd = Math.min(...anew.map(({ endedAt }) => endedAt));
  if (makers.length > 1 || makers.some(({ invokedAt, reply }) => isOld(reply, recorded) || invokedAt > firstEnd)) {
    report('final is final', `${id}: answered anew after it had been answered`);
  }
}

/** Up to its expiry a reply is replayed, and then no more: but by a request that was under way, to those that wait for it. */
function checkExpiry(id: string, recorded: Recorded, replies: Acknowledged[], report: Report): void {
  const { expiresAt } = recorded;
  for (const { invokedAt, endedAt, reply } of replies) {
    const old = isOld(reply, recorded);
    if (endedAt < expiresAt && !old) {
      report('same reply', `${id}: ${contentOf(reply)} before it expired, instead of ${contentOf(recorded.reply)}`);
    }
    if (invokedAt > expiresAt + LEASE_MS && old) report('as documented', `${id}: replayed long after it had expired`);
  }
}

/** An order without a key is answered as it is now: all of it stays, but that it becomes paid, once. */
function checkNatural(id: string, replies: Acknowledged[], report: Report): void {
  const orders = replies.flatMap(({ invokedAt, endedAt, reply }) => {
    const { status, paid_at, ...rest } = parse(reply.body);
    return reply.status === 200 ? [{ invokedAt, endedAt, paid: paid_at, status, rest: JSON.stringify(rest) }] : [];
  });
  const paid = orders.filter(({ status }) => status === 'paid');
  const paidAt = Math.min(...paid.map(({ endedAt }) => endedAt));
  if (orders.some(({ status, invokedAt }) => status !== 'paid' && invokedAt > paidAt))
    report('final is final', `${id}: paid, and no longer`);
  for (const seen of [orders.map(({ rest }) => rest), paid.map((order) => String(order.paid))]) {
    if (new Set(seen).size > 1) report('same reply', `${id}: ${[...new Set(seen)].join(' and ')}`);
  }
}

type Recorded = NonNullable<Story['recorded']>;
type Acknowledged = ReturnType<typeof acknowledged>[number];

const isOld = (reply: Reply, recorded?: Recorded) =>
  recorded !== undefined && contentOf(reply) === contentOf(recorded.reply);
