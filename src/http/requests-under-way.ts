import { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * The requests that a server has not finished. The drain waits for them, and the handling of broken connections depends on them.
 *
 * Invariant: a request counts from the moment its head is read until its handler has ended the response *and* the response is sent or its
 * connection is closed. So the drain waits for a handler whose client has left, and does not wait for a handler that has ended.
 */
export class RequestsUnderWay {
  /** For `http.createServer`. Node creates one response for each request, so every request is counted, on every path through the framework. */
  readonly Response = countedResponse(this);
  private readonly ofConnections = new WeakMap<Socket, Set<ServerResponse>>();
  private readonly responses = new Set<ServerResponse>();
  private readonly waiting: (() => void)[] = [];
  /** Responses that their handlers have destroyed. `destroyed` does not show this, because Node also sets it if the client has left. */
  private readonly givenUp = new WeakSet<ServerResponse>();

  /** Whether the handler of any request of this connection may have started, or its response is being sent. */
  mayHaveStarted(connection: Socket): boolean {
    return [...this.of(connection)].some(mayHaveStarted);
  }

  /** Whether the connection only waits for its client: no handler works on the first of its responses, or there is no response. */
  isWaitingForClient(connection: Socket): boolean {
    const [first] = this.of(connection);
    return first === undefined || first.headersSent;
  }

  /**
   * Resolves as soon as every request that may have started is over. A request whose body is incomplete has not started, and its client may
   * never send the rest. (A GET with an incomplete body may have started, because no body of a GET is read, but a GET changes nothing.)
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

  /** Called when a handler destroys a response before all of it is sent, as Fastify does with a file if the client has left. */
  giveUp(response: ServerResponse): void {
    this.givenUp.add(response);
    this.endIfOver(response);
  }

  /** Called at each event that can be the last event of a request, because their order is not fixed. */
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
 * Closes a response as Node does when its connection is closed. Node forgets a pipelined response that waits for earlier responses on the same
 * connection. Without this, the source of such a response, such as a file, would stay open.
 */
function close(response: ServerResponse): void {
  if (response.closed) return;
  Object.assign(response, { destroyed: true, _closed: true });
  response.emit('close');
}

/** A response class that reports when a response begins and when its handler ends it, also if the client has left. */
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
