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
  // Of a reply that expires during the run, those before and those after are two stories.
  const expiresAt = recorded?.expiresAt ?? -Infinity;
  const before = replies.filter(({ endedAt }) => endedAt < expiresAt);
  const after = replies.filter(({ invokedAt }) => invokedAt > expiresAt);
  for (const { reply } of before) {
    if (recorded && contentOf(reply) !== contentOf(recorded.reply)) {
      report('same reply', `${id}: ${contentOf(reply)} before it expired, instead of ${contentOf(recorded.reply)}`);
    }
  }
  for (const { reply } of recorded ? after : []) {
    if (recorded && contentOf(reply) === contentOf(recorded.reply)) {
      report('as documented', `${id}: still replayed after it had expired`);
    }
  }
  if (new Set(after.map(({ reply }) => contentOf(reply))).size > 1) {
    report('same reply', `${id}: ${[...new Set(after.map(({ reply }) => contentOf(reply)))].join(' and ')}`);
  }
  const firstEnd = Math.min(...after.map(({ endedAt }) => endedAt));
  for (const { invokedAt, reply } of after) {
    if (invokedAt > firstEnd && !reply.replayed)
      report('final is final', `${id}: answered anew after it had been answered`);
  }
}
