/**
 * The steps at which a replica can be stopped. Each step is visible without changing the source: a statement that is about to be sent
 * or has been answered, a COMMIT that has been sent, a request to the bank, half of a reply. `committed` means that the answer to COMMIT
 * has arrived and the service has not used it yet.
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
  'fresh.taken',
  'fresh.counted',
  'fresh.paid',
  'fresh.mailed',
  'fresh.worked',
  'fresh.commit-sent',
  'fresh.committed',
  'fresh.rolled-back',
  'release.commit-sent',
  'release.committed',
  'relay.locked',
  'relay.delivered',
  'relay.commit-sent',
  'relay.committed',
  'consumer.received',
  'consumer.worked',
  'consumer.commit-sent',
  'consumer.committed',
  'webhook.received',
  'webhook.commit-sent',
  'webhook.committed',
  'sweep.answered',
  'sweep.commit-sent',
] as const;

export type FailPoint = (typeof FAIL_POINTS)[number];

/**
 * A stop either kills the process, freezes it until it receives SIGCONT, or breaks the connection to the database so that the answer to
 * COMMIT is lost and the process continues.
 */
export type Stop = 'kill' | 'freeze' | 'lose answer';

/** A step and what happens to the process at that step. */
export interface StopCase {
  readonly point: FailPoint;
  readonly stop: Stop;
}

export const STOP_CASES: readonly StopCase[] = FAIL_POINTS.flatMap((point) => [
  { point, stop: 'kill' },
  { point, stop: 'freeze' },
]);

/** The requests that reach a step while a process is stopped there in turn. */
export const SUBJECTS = ['charges', 'refunds'] as const;
export type Subject = (typeof SUBJECTS)[number];

/** Whether a step belongs to one request, so that it is tried with each subject. The other steps belong to messages and to the sweep. */
export const isOfRequest = (point: FailPoint) => /^(claim|gateway|complete|reply|take-over)\./.test(point);

/** A message to a replica: where to stop. `undefined` disarms the replica. */
export interface Arm {
  arm: StopCase | undefined;
}

/** A message from a replica: it was disarmed before it reached the step. */
export interface Disarmed {
  disarmed: true;
}
