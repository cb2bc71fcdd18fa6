import { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * The requests of a server that are not over, for the drain and for connections that break.
 *
 * Invariant: a request counts from the moment its head is read until its handler has ended the response *and* the response
 * is sent or its connection is gone. A client that leaves therefore ends no work, and work that has ended is not waited for.
 */
export class RequestsUnderWay {
  /** For `http.createServer`: Node creates one response for each request, so no way through the framework escapes the count. */
  readonly Response = countedResponse(this);
  private readonly ofConnections = new WeakMap<Socket, Set<ServerResponse>>();
  private readonly responses = new Set<ServerResponse>();
  private readonly waiting: (() => void)[] = [];
  /** Responses that their handlers have destroyed. Node also marks those as destroyed whose clients have left, so it cannot be asked. */
  private readonly givenUp = new WeakSet<ServerResponse>();

  /** Whether the handler of any request of this connection may have started, or its response is being sent. */
  mayHaveStarted(connection: Socket): boolean {
    return [...this.of(connection)].some(mayHaveStarted);
  }

  /** Whether the connection waits for its client to read: nobody works on the first of its responses, or there is none. */
  isWaitingForClient(connection: Socket): boolean {
    const [first] = this.of(connection);
    return first === undefined || first.headersSent;
  }

  /**
   * Resolves as soon as no request is under way that may have started. A request whose body is incomplete has not, and its client may
   * never send the rest. (A GET with a body may have, because no body of a GET is read, but it changes nothing.)
   */
  over(): Promise<void> {
    return new Promise((resolve) => {
      if (this.areOver()) resolve();
      else this.waiting.push(resolve);
    });
  }

  begin(response: ServerResponse): void {
    this.responses.add(response);
    this.of(response.req.socket).add(response);
    response.once('close', () => this.endIfOver(response));
  }

  /** Called when a handler ends a response without sending all of it, as Fastify does with a file whose client has left. */
  giveUp(response: ServerResponse): void {
    this.givenUp.add(response);
    this.endIfOver(response);
  }

  /** Called at each event that can be the last one of a request, in whichever order they come. */
  endIfOver(response: ServerResponse): void {
    const { socket } = response.req;
    const hasEnded = response.writableEnded || this.givenUp.has(response);
    const isAnswered = hasEnded && (response.closed || socket.destroyed);
    if (!isAnswered || !this.responses.delete(response)) return;
    this.of(socket).delete(response);
    if (this.waiting.length > 0 && this.areOver()) this.waiting.splice(0).forEach((resolve) => resolve());
  }

  private areOver(): boolean {
    return ![...this.responses].some(mayHaveStarted);
  }

  private of(connection: Socket): Set<ServerResponse> {
    const known = this.ofConnections.get(connection);
    if (known) return known;
    const responses = new Set<ServerResponse>();
    this.ofConnections.set(connection, responses);
    connection.once('close', () => responses.forEach(close));
    return responses;
  }
}

const mayHaveStarted = ({ req, headersSent }: ServerResponse) => req.complete || headersSent;

/**
 * Closes a response as Node does when its connection is gone. Node leaves out a pipelined response that never got the connection
 * because those before it were not sent, and whatever that is read from, such as a file, would stay open.
 */
function close(response: ServerResponse): void {
  if (response.closed) return;
  Object.assign(response, { destroyed: true, _closed: true });
  response.emit('close');
}

/** A response that reports when it begins, and when its handler ends it, also if its client has gone. */
function countedResponse(underWay: RequestsUnderWay): typeof ServerResponse {
  class CountedResponse extends ServerResponse {
    constructor(...args: ConstructorParameters<typeof ServerResponse>) {
      super(...args);
      underWay.begin(this);
    }

    override end(...args: unknown[]): this {
      super.end(...(args as []));
      underWay.endIfOver(this);
      return this;
    }

    override destroy(error?: Error): this {
      super.destroy(error);
      underWay.giveUp(this);
      return this;
    }
  }
  return CountedResponse as typeof ServerResponse;
}
