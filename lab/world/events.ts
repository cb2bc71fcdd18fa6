/** The replicas, which are processes of the same implementation on the same database. */
export type ReplicaName = 'A' | 'B';
export const REPLICAS: readonly ReplicaName[] = ['A', 'B'];

/** The participants, each of which is a lane of a sequence diagram, in the order in which a request meets them. */
export type Lane = 'client' | 'proxy' | ReplicaName | 'postgres' | 'bank';

/** Everything that a person or a scenario can do to the world, besides sending requests. */
export type Fault =
  | 'lose-reply'
  | 'lose-bank-answer'
  | 'lose-commit-answer'
  | 'hold-bank'
  | 'release-bank'
  | 'kill'
  | 'start'
  | 'freeze'
  | 'wake'
  | 'end-leases';

/** Something that has really happened. A sequence diagram can be drawn from the events alone. */
export interface LabEvent {
  /** Number of the event, from 1. */
  id: number;
  /** Milliseconds since the world was started. */
  at: number;
  /**
   * - `request`, `reply`: a message of HTTP from one lane to another.
   * - `commit`: PostgreSQL has committed a transaction of a replica.
   * - `process`: a process has changed its state, see {@link LabEvent.state}. `from` and `to` are its lane.
   * - `note`: a sentence about one lane. `from` and `to` are this lane.
   */
  kind: 'request' | 'reply' | 'commit' | 'process' | 'note';
  from: Lane;
  to: Lane;
  text: string;
  /** The client's attempt that the message belongs to, from 1. Messages to the bank and commits have none. */
  attempt?: number;
  /** The idempotency key of the message, which is the bank's key for messages to and from the bank. */
  key?: string;
  /** The body of a request of the client. */
  body?: string;
  /** 2 for the second request to which the client has given the same key. */
  nth?: number;
  status?: number;
  /** The first eight digits of the SHA-256 of the body. Two replies have the same digest if their bytes are equal. */
  digest?: string;
  /** Whether the reply has the header `Idempotent-Replayed: true`. */
  replayed?: boolean;
  /** The message was sent and has not arrived. For a commit: PostgreSQL has committed, and the answer has not arrived. */
  lost?: boolean;
  /** The new state of the process. */
  state?: 'running' | 'killed' | 'frozen' | 'woken';
  /** The fault that this event reports, so that a reader can repeat the run. */
  fault?: Fault;
}

export type NewEvent = Omit<LabEvent, 'id' | 'at'>;

/** Everything that happens in a world, in order. */
export class EventLog {
  /** All events since the last {@link EventLog.clear}. */
  readonly past: LabEvent[] = [];
  private readonly startedAt = performance.now();
  private count = 0;

  add(event: NewEvent): void {
    this.past.push({ id: ++this.count, at: Math.round(performance.now() - this.startedAt), ...event });
  }

  /** Adds a sentence about one lane. */
  note(lane: Lane, text: string, about: Pick<LabEvent, 'key' | 'fault'> = {}): void {
    this.add({ kind: 'note', from: lane, to: lane, text, ...about });
  }

  /** The number that the next event will have. */
  get nextId(): number {
    return this.count + 1;
  }

  clear(): void {
    this.past.length = 0;
  }
}
