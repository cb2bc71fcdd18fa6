import type { LabEvent, ReplicaName } from '../world/events.js';

/** One attempt of the client, and what it has received. */
export interface Attempt {
  number: number;
  key: string;
  /** 2 for the second request to which the client has given the same key. */
  nth: number;
  body: string;
  replica?: ReplicaName;
  /** Missing while the attempt is under way, and if its reply was lost. */
  status?: number;
  digest?: string;
  isReplayed: boolean;
  isLost: boolean;
  /** Whether an acknowledged reply has the bytes of the first acknowledged reply to this request. */
  bytes?: 'first' | 'same' | 'other';
  /** Ids of the events with which the attempt begins and ends. */
  begins: number;
  ends?: number;
}

/** The attempts in the order in which they were sent. */
export function attemptsOf(events: readonly LabEvent[]): Attempt[] {
  const attempts = new Map<number, Attempt>();
  const firsts = new Map<string, string | undefined>();
  for (const { id, kind, from, to, attempt: number, ...event } of events) {
    if (number === undefined) continue;
    if (kind === 'request' && from === 'client') {
      const { key = '', nth = 1, body = '' } = event;
      attempts.set(number, { number, key, nth, body, isReplayed: false, isLost: false, begins: id });
    }
    const attempt = attempts.get(number);
    if (!attempt) continue;
    if (kind === 'request' && (to === 'A' || to === 'B')) attempt.replica = to;
    if (kind !== 'reply' || to !== 'client') continue;
    const { status, digest, replayed = false, lost = false } = event;
    Object.assign(attempt, { ends: id, isLost: lost, isReplayed: replayed });
    if (lost) continue;
    Object.assign(attempt, { status, digest });
    if (status !== 200) continue;
    const request = `${attempt.key} ${attempt.nth}`;
    attempt.bytes = !firsts.has(request) ? 'first' : firsts.get(request) === digest ? 'same' : 'other';
    if (attempt.bytes === 'first') firsts.set(request, digest);
  }
  return [...attempts.values()];
}
