import { appendFileSync, writeFileSync } from 'node:fs';

/** One thing that a client wants done once, whatever becomes of its attempts. */
export interface Operation {
  /** The account, and the client's own name for the operation, which is in the body: whose effect is whose can be told. */
  readonly id: string;
  readonly account: string;
  /** Without one, the natural key has to do. */
  readonly key?: string;
  readonly path: '/charges' | '/orders';
  readonly body: Readonly<Record<string, unknown>>;
}

/** An answer as it came. */
export interface Reply {
  readonly status: number;
  /** The one header that is on record. */
  readonly contentType: string;
  readonly body: string;
  readonly replayed: boolean;
}

/** What a body says; nothing, where it is not JSON. */
export function parse(body: string): Record<string, unknown> {
  try {
    return (JSON.parse(body) as Record<string, unknown> | null) ?? {};
  } catch {
    return {};
  }
}

/**
 * What an attempt came to. `ok`: an answer that is final. `fail`: it certainly had no effect. `info`: nobody knows; it is
 * never taken for one of the others.
 */
export type Outcome =
  { readonly type: 'ok'; readonly reply: Reply } | { readonly type: 'fail' | 'info'; readonly reason: string };

/** Milliseconds of the wall clock, which is the database's too, since both are on one machine. */
type At = { readonly at: number };

export type HistoryEvent = At &
  (
    | { readonly type: 'operation'; readonly operation: Operation }
    /** A reply that was recorded long ago, and expires soon. */
    | { readonly type: 'recorded'; readonly operation: string; readonly reply: Reply; readonly expiresAt: number }
    | { readonly type: 'invoke'; readonly attempt: number; readonly operation: string; readonly replica: number }
    | ({ readonly attempt: number } & Outcome)
    | { readonly type: 'fault'; readonly kind: string; readonly state: 'attempted' | 'landed'; readonly about: string }
    | { readonly type: 'phase'; readonly name: Phase }
  );

/** `load` with faults; `healed` without, until nothing is under way; `resend` of every key; `end`. */
export type Phase = 'load' | 'healed' | 'resend' | 'end';

type WithoutTime<T> = T extends At ? Omit<T, 'at'> : never;

/** Everything that clients saw, in order, in memory and in a file. It has one writer, who is never a target. */
export class History {
  readonly events: HistoryEvent[] = [];
  private attempts = 0;

  /** @param file of JSON lines, made anew */
  constructor(private readonly file: string) {
    writeFileSync(file, '');
  }

  add(event: WithoutTime<HistoryEvent>): void {
    const stamped = { at: Date.now(), ...event } as HistoryEvent;
    this.events.push(stamped);
    // At once: whoever interrupts a run, or sees it break off, wants the end of it most.
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
