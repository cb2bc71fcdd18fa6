import { appendFileSync, writeFileSync } from 'node:fs';

/** An operation that a client wants to happen once, over any number of attempts. */
export interface Operation {
  /** The account and the client's name for the operation. The body contains the id, so that each effect can be assigned to its operation. */
  readonly id: string;
  readonly account: string;
  /** The idempotency key. Without one, only the natural key prevents a second effect. */
  readonly key?: string;
  readonly path: '/charges' | '/orders' | `/charges/${string}/refunds`;
  readonly body: Readonly<Record<string, unknown>>;
}

/** An answer as the client received it. */
export interface Reply {
  readonly status: number;
  /** The only header that is recorded with the reply. */
  readonly contentType: string;
  readonly body: string;
  readonly replayed: boolean;
}

/** The members of a JSON body, or an empty object if the body is not JSON. */
export function parse(body: string): Record<string, unknown> {
  try {
    return (JSON.parse(body) as Record<string, unknown> | null) ?? {};
  } catch {
    return {};
  }
}

/**
 * The outcome of an attempt. `ok`: a final answer. `fail`: the attempt certainly had no effect. `info`: it is not known whether the attempt
 * had an effect; the checker never treats it as `ok` or `fail`.
 */
export type Outcome =
  { readonly type: 'ok'; readonly reply: Reply } | { readonly type: 'fail' | 'info'; readonly reason: string };

/** Milliseconds of the wall clock. The database uses the same clock, because both are on one machine. */
type At = { readonly at: number };

export type HistoryEvent = At &
  (
    | { readonly type: 'operation'; readonly operation: Operation }
    /** A reply that was recorded before the run and expires soon. */
    | { readonly type: 'recorded'; readonly operation: string; readonly reply: Reply; readonly expiresAt: number }
    | { readonly type: 'invoke'; readonly attempt: number; readonly operation: string; readonly replica: number }
    | ({ readonly attempt: number } & Outcome)
    | { readonly type: 'fault'; readonly kind: string; readonly state: 'attempted' | 'landed'; readonly about: string }
    | { readonly type: 'phase'; readonly name: Phase }
  );

/** `load`: clients and faults. `healed`: no more faults, until nothing is in flight. `resend`: every key is sent again. `end`: everything is read. */
export type Phase = 'load' | 'healed' | 'resend' | 'end';

type WithoutTime<T> = T extends At ? Omit<T, 'at'> : never;

/** Everything that clients saw, in order, in memory and in a file. The only writer is this process, which no fault stops. */
export class History {
  readonly events: HistoryEvent[] = [];
  private attempts = 0;

  /** @param file of JSON lines, which is overwritten */
  constructor(private readonly file: string) {
    writeFileSync(file, '');
  }

  add(event: WithoutTime<HistoryEvent>): void {
    const stamped = { at: Date.now(), ...event } as HistoryEvent;
    this.events.push(stamped);
    // Written immediately, because the last events are the most useful ones if a run is interrupted or crashes.
    appendFileSync(this.file, `${JSON.stringify(stamped)}\n`);
  }

  /** @returns the number of the attempt */
  invoke(operation: string, replica: number): number {
    const attempt = this.attempts++;
    this.add({ type: 'invoke', attempt, operation, replica });
    return attempt;
  }

  get attemptsSoFar(): number {
    return this.attempts;
  }
}
