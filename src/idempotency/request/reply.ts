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

/** Serialises a reply, once for each request. The result is both stored and sent, so a replay cannot differ from the first reply. */
export function record({ status, body, headers = {} }: Reply): RecordedReply {
  // Lower-case the names, because jsonb would otherwise reorder two spellings of one header.
  const named = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  if (body === undefined) return new RecordedReply(status, named, '');
  return new RecordedReply(
    status,
    { 'content-type': 'application/json; charset=utf-8', ...named },
    JSON.stringify(body),
  );
}
