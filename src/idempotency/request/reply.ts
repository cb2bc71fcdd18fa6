/** What a phase returns to answer its request with. It is recorded, whatever its status, and replayed. */
export interface Reply {
  status: number;
  /** Anything that JSON can carry; `undefined` for no content. */
  body?: unknown;
  /** Headers that belong to the answer, such as `etag`; `content-type` is JSON unless it says otherwise. */
  headers?: Record<string, string>;
}

/** A reply as it is stored and sent: the very bytes, the first time and every time. */
export class RecordedReply {
  constructor(
    readonly status: number,
    readonly headers: Readonly<Record<string, string>>,
    readonly body: string,
  ) {}
}

/** Serialises a reply, once. What this returns is both stored and sent, so that the two cannot differ. */
export function record({ status, body, headers = {} }: Reply): RecordedReply {
  // One spelling for each name: two that differ in case would be sent in the order that the database likes.
  const named = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  if (body === undefined) return new RecordedReply(status, named, '');
  return new RecordedReply(
    status,
    { 'content-type': 'application/json; charset=utf-8', ...named },
    JSON.stringify(body),
  );
}
