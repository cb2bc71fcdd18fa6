import { Agent, createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { digestOf } from './digest.js';
import type { EventLog, ReplicaName } from './events.js';

/** The header in which a client names the replica, as a load balancer with sticky sessions would choose it. */
export const REPLICA_HEADER = 'x-lab-replica';
/** The header in which a client numbers its attempts, so that the events of one attempt can be recognised. */
export const ATTEMPT_HEADER = 'x-lab-attempt';

/** The proxy in front of the replicas. It can lose a reply: it then closes the client's connection instead of sending the reply. */
export class FrontProxy {
  private repliesToLose = 0;
  private readonly agent = new Agent({ keepAlive: false });
  private readonly server = createServer((request, response) => void this.pass(request, response));

  private constructor(
    /** Returns the port of a replica, or undefined if its process does not run. */
    private readonly portOf: (replica: ReplicaName) => number | undefined,
    /** Numbers an attempt of a client that does not number its attempts, such as curl. */
    private readonly nextAttempt: () => number,
    private readonly events: EventLog,
  ) {}

  static async start(
    portOf: (replica: ReplicaName) => number | undefined,
    nextAttempt: () => number,
    events: EventLog,
  ): Promise<FrontProxy> {
    const proxy = new FrontProxy(portOf, nextAttempt, events);
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Loses the next reply of a replica to a POST. */
  loseNextReply(): void {
    this.repliesToLose = 1;
    this.events.note('proxy', 'The next reply will be lost.', { fault: 'lose-reply' });
  }

  get isArmed(): boolean {
    return this.repliesToLose > 0;
  }

  /** Ends every fault. */
  behave(): void {
    this.repliesToLose = 0;
  }

  async end(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const replica = request.headers[REPLICA_HEADER] === 'B' ? 'B' : 'A';
    const isPost = request.method === 'POST';
    const given = request.headers[ATTEMPT_HEADER];
    const isForeign = isPost && given === undefined;
    const about = {
      attempt: isForeign ? this.nextAttempt() : Number(given),
      key: request.headers['idempotency-key'] as string,
    };
    const text = `${request.method} ${request.url}`;
    response.on('error', () => undefined);
    try {
      const body = await buffer(request);
      if (isForeign)
        this.events.add({ kind: 'request', from: 'client', to: 'proxy', text, body: body.toString(), ...about });
      if (isPost) this.events.add({ kind: 'request', from: 'proxy', to: replica, text, ...about });
      const answer = await this.ask(replica, request, body);
      const status = answer.statusCode ?? 0;
      const bytes = await buffer(answer);
      const replayed = answer.headers['idempotent-replayed'] === 'true';
      const reply = { text: String(status), status, digest: digestOf(bytes), replayed, ...about };
      if (isPost) this.events.add({ kind: 'reply', from: replica, to: 'proxy', ...reply });
      const isLost = isPost && this.repliesToLose > 0;
      if (isLost) this.repliesToLose--;
      if (isPost)
        this.events.add({ kind: 'reply', from: 'proxy', to: 'client', ...reply, lost: isLost || response.destroyed });
      if (isLost) return void response.destroy();
      response
        .writeHead(status, { ...contentOf(answer), ...(replayed && { 'idempotent-replayed': 'true' }) })
        .end(bytes);
    } catch {
      if (isPost)
        this.events.add({ kind: 'reply', from: replica, to: 'proxy', text: 'connection lost', lost: true, ...about });
      this.answerForReplica(response, about);
    }
  }

  /** 502, as every proxy answers for a server whose connection is broken. The outcome of the request is unknown. */
  private answerForReplica(response: ServerResponse, about: { attempt: number; key: string }): void {
    if (response.destroyed) return;
    this.events.add({ kind: 'reply', from: 'proxy', to: 'client', text: '502', status: 502, ...about });
    const body = JSON.stringify({ title: 'Bad gateway', status: 502, outcome: 'unknown' });
    response.writeHead(502, { 'content-type': 'application/problem+json' }).end(body);
  }

  private ask(replica: ReplicaName, { method, url, headers }: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const port = this.portOf(replica);
      if (port === undefined) return reject(new Error(`Replica ${replica} does not run`));
      const passed = { 'content-type': headers['content-type'], 'idempotency-key': headers['idempotency-key'] };
      const present = Object.fromEntries(Object.entries(passed).filter(([, value]) => value !== undefined));
      const outgoing = httpRequest(
        { host: '127.0.0.1', port, method, path: url, headers: present as Record<string, string>, agent: this.agent },
        resolve,
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
}

const contentOf = ({ headers }: IncomingMessage) => ({ 'content-type': headers['content-type'] ?? 'text/plain' });
