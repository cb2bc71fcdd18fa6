/** The reply that a phase returns. It is recorded and replayed, for every status. */
export interface Reply {
  status: number;
  /** Any JSON value; `undefined` for a reply without content. */
  body?: unknown;
  /** Headers that are recorded and replayed with the body, such as `etag`. The default of `content-type` is JSON. */
  headers?: Record<string, string>;
}

/** A reply as it is stored and sent: every attempt gets the same bytes. */
export class RecordedReply {
  constructor(
    readonly status: number,
    readonly headers: Readonly<Record<string, string>>,
    readonly body: string,
  ) {}
}
