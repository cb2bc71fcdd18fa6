import type { Reply } from '../history.js';
import { LEASE_MS } from '../timing.js';
import { acknowledged, contentOf, parse, type Story } from './stories.js';
import type { Report } from './verdict.js';

/** What the clients of one operation saw, held against itself. */
export function checkReplies(story: Story, stories: readonly Story[], report: Report): void {
  const { operation, attempts, recorded } = story;
  const { id, path, key, account } = operation;
  const expected = path === '/charges' ? [200, 402] : [200];
  for (const { reason } of attempts) {
    if (reason?.startsWith('500')) report('as documented', `${id}: answered with ${reason}`);
  }
  const replies = acknowledged(story);
  for (const { reply } of replies) {
    const content = parse(reply.body);
    if (!expected.includes(reply.status)) {
      const twin = stories.some(({ operation: other }) => other.key === key && other.account !== account);
      const isBlocked = twin && content['code'] === 'idempotency_key_reused';
      report(isBlocked ? 'accounts do not cross' : 'as documented', `${id}: answered with ${contentOf(reply)}`);
    } else if (reply.status === 200) {
      const whose = path === '/charges' ? content['description'] : content['customer_id'];
      if (whose !== id) report('accounts do not cross', `${id}: got the reply of ${String(whose)}`);
    }
  }
  if (key === undefined) return;
  if (recorded) checkExpiry(id, recorded, replies, report);
  // A reply that has expired meanwhile is another story than the one after it.
  const expiresAt = recorded?.expiresAt ?? -Infinity;
  const later = replies.filter(({ invokedAt, reply }) => invokedAt > expiresAt && !isOld(reply, recorded));
  const different = new Set(later.map(({ reply }) => contentOf(reply)));
  if (different.size > 1) report('same reply', `${id}: ${[...different].join(' and ')}`);
  const firstEnd = Math.min(...later.map(({ endedAt }) => endedAt));
  for (const { invokedAt, reply } of later) {
    if (invokedAt > firstEnd && !reply.replayed)
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

type Recorded = NonNullable<Story['recorded']>;
type Acknowledged = ReturnType<typeof acknowledged>[number];

const isOld = (reply: Reply, recorded?: Recorded) =>
  recorded !== undefined && contentOf(reply) === contentOf(recorded.reply);
