/**
 * The steps at which a replica can be stopped. Each is a place in the protocol, seen from outside of the source: a statement
 * that is about to be sent, or answered; a COMMIT that has left; a request to the bank; half of a reply. `committed` means that
 * the answer to COMMIT has come, and nothing was done with it yet.
 */
export const FAIL_POINTS = [
  'claim.before',
  'claim.answered',
  'claim.commit-sent',
  'claim.committed',
  'gateway.before',
  'gateway.sent',
  'gateway.answered',
  'complete.before',
  'complete.commit-sent',
  'complete.committed',
  'reply.half-sent',
  'take-over.answered',
  'take-over.commit-sent',
  'take-over.committed',
  'relay.locked',
  'relay.delivered',
  'relay.commit-sent',
  'relay.committed',
  'consumer.received',
  'consumer.worked',
  'consumer.commit-sent',
  'consumer.committed',
  'sweep.answered',
  'sweep.commit-sent',
] as const;

export type FailPoint = (typeof FAIL_POINTS)[number];

/**
 * What happens to the process there: it dies; it is frozen until somebody wakes it; or it goes on, and the answer that it has
 * just been sent is lost with its connection.
 */
export type Stop = 'kill' | 'freeze' | 'lose answer';

/** A step, and what happens there. */
export interface StopCase {
  readonly point: FailPoint;
  readonly stop: Stop;
}

export const STOP_CASES: readonly StopCase[] = FAIL_POINTS.flatMap((point) => [
  { point, stop: 'kill' },
  { point, stop: 'freeze' },
]);

/** What a replica is told. `undefined` takes it back. */
export interface Arm {
  arm: StopCase | undefined;
}

/** What it says when that was taken back in time. */
export interface Disarmed {
  disarmed: true;
}
