import { randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Stripe } from 'stripe';
import { eventIdOf, type JournalEntry } from './evidence.js';
import { type ChaosReplica, WEBHOOK_SECRET } from './replicas.js';
import { FREEZE_MS } from './timing.js';

/** The longest delay of an event. Some events overtake the reply of the bank, and some arrive after a takeover. */
const LATEST_MS = FREEZE_MS;
/** Every event is sent this many times, at different moments and to any replica. */
const COPIES = 2;
const RETRY_MS = 100;
/** A frozen replica does not answer. */
const ANSWER_MS = 3_000;

/** Reports each capture of the bank to the service as well, as a signed event of Stripe that is sent until it is answered with 200. */
export class Courier {
  /** Number of deliveries that were not answered with 200 yet. */
  pending = 0;
  private isOver = false;

  constructor(private readonly replicas: readonly ChaosReplica[]) {}

  /** @param afterMs the time before which the event is not sent */
  report(entry: JournalEntry, afterMs = 0): void {
    if (entry.decision !== 'captured') return;
    for (let copy = 0; copy < COPIES; copy++) void this.deliver(JSON.stringify(eventOf(entry)), afterMs);
  }

  end(): void {
    this.isOver = true;
  }

  private async deliver(payload: string, afterMs: number): Promise<void> {
    this.pending++;
    await pause(afterMs + randomInt(LATEST_MS), undefined, { ref: false });
    while (!this.isOver && !(await this.attempt(payload))) await pause(RETRY_MS, undefined, { ref: false });
    this.pending--;
  }

  private async attempt(payload: string): Promise<boolean> {
    const replica = this.replicas[randomInt(Math.max(1, this.replicas.length))];
    if (!replica) return false;
    const signature = Stripe.webhooks.generateTestHeaderString({ payload, secret: WEBHOOK_SECRET });
    const answer = await fetch(`http://127.0.0.1:${replica.clientPort}/webhooks/stripe`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'stripe-signature': signature, connection: 'close' },
      body: payload,
      signal: AbortSignal.timeout(ANSWER_MS),
    })
      .then(async (response) => {
        await response.arrayBuffer();
        return response;
      })
      .catch(() => undefined);
    return answer?.status === 200;
  }
}

const eventOf = (entry: JournalEntry) => ({
  id: eventIdOf(entry),
  object: 'event',
  type: 'payment_intent.succeeded',
  created: Math.floor(entry.at / 1_000),
  data: {
    object: {
      id: `pi_${entry.charge.slice(3)}`,
      object: 'payment_intent',
      status: 'succeeded',
      amount: entry.amount,
      currency: entry.currency,
      metadata: { account_id: entry.account, charge_id: entry.charge },
    },
  },
});
