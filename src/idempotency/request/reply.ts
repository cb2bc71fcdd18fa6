/** The reply that a phase returns. It is recorded and replayed, for every status. */
export interface Reply {
  status: number;
  /** Any JSON value; `undefined` for a reply without content. */
  body?: unknown;
  /** Headers that are recorded and replayed with the body, such as `etag`. The default of `content-type` is JSON. */
  headers?: Record<string, string>;
}

/** When a key expires, in two clocks. */
export interface Expiry {
  /** By the clock of the database, in milliseconds since 1970: the same time for the first reply and for every replay. */
  readonly epochMs: number;
  /** A time before which the key does not expire, in milliseconds of `performance.now()`. */
  readonly notBefore: number;
}

/** A reply as it is stored and sent: every attempt gets the same bytes. */
export class RecordedReply {
  /** @param expiry of the key, which is not part of the recorded bytes; missing until the reply is recorded under a key */
  constructor(
    readonly status: number,
    readonly headers: Readonly<Record<string, string>>,
    readonly body: string,
    readonly expiry?: Expiry,
  ) {}
}
