import { Agent, createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { LabClient, Outcome } from './client.js';
import { digestOf } from './digest.js';
import type { EventLog, ReplicaName } from './events.js';

/** The header in which a client names the replica, as a load balancer with sticky sessions would choose it. */
export const REPLICA_HEADER = 'x-lab-replica';
/** The header in which a client numbers its attempts, so that the events of one attempt can be recognised. */
export const ATTEMPT_HEADER = 'x-lab-attempt';

const LOST: Outcome = { kind: 'lost', reason: 'the client has no reply', wasReused: false };

/** The proxy in front of the replicas. It can lose a reply: it then closes the client's connection instead of sending the reply. */
export class FrontProxy {
  private repliesToLose = 0;
  private readonly agent = new Agent({ keepAlive: false });
  private readonly server = createServer((request, response) => void this.pass(request, response));

  private constructor(
    /** Returns the port of a replica, or undefined if its process does not run. */
    private readonly portOf: (replica: ReplicaName) => number | undefined,
    /** Counts the attempts of a client that does not number them, such as curl. */
    private readonly client: Pick<LabClient, 'count'>,
    private readonly events: EventLog,
  ) {}

  static async start(
    portOf: (replica: ReplicaName) => number | undefined,
    client: Pick<LabClient, 'count'>,
    events: EventLog,
  ): Promise<FrontProxy> {
    const proxy = new FrontProxy(portOf, client, events);
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
    response.on('error', () => undefined);
    const body = await buffer(request).catch(() => undefined);
    if (!body) return; // the client has gone
    const attempt = request.headers[ATTEMPT_HEADER];
    const key = request.headers['idempotency-key'] as string;
    if (request.method !== 'POST' || attempt !== undefined) {
      await this.forward(request, body, response, { attempt: Number(attempt), key });
      return;
    }
    await this.client.count({ key }, (number) => {
      const about = { text: textOf(request), body: body.toString(), attempt: number, key };
      this.events.add({ kind: 'request', from: 'client', to: 'proxy', ...about });
      return this.forward(request, body, response, { attempt: number, key });
    });
  }

  /** @returns the outcome for the client */
  private async forward(
    request: IncomingMessage,
    body: Buffer,
    response: ServerResponse,
    about: { attempt: number; key: string },
  ): Promise<Outcome> {
    const replica = request.headers[REPLICA_HEADER] === 'B' ? 'B' : 'A';
    const isPost = request.method === 'POST';
    const text = textOf(request);
    try {
      if (isPost) this.events.add({ kind: 'request', from: 'proxy', to: replica, text, ...about });
      const answer = await this.ask(replica, request, body);
      const status = answer.statusCode ?? 0;
      const bytes = await buffer(answer);
      const replayed = answer.headers['idempotent-replayed'] === 'true';
      const digest = digestOf(bytes);
      const reply = { text: String(status), status, digest, replayed, ...about };
      if (isPost) this.events.add({ kind: 'reply', from: replica, to: 'proxy', ...reply });
      if (isPost && this.repliesToLose > 0) {
        this.repliesToLose--;
        response.destroy();
      }
      const lost = response.destroyed;
      if (isPost) this.events.add({ kind: 'reply', from: 'proxy', to: 'client', ...reply, lost });
      if (lost) return LOST;
      response
        .writeHead(status, { ...contentOf(answer), ...(replayed && { 'idempotent-replayed': 'true' }) })
        .end(bytes);
      return { kind: 'reply', status, body: bytes.toString(), digest, replayed };
    } catch {
      if (isPost)
        this.events.add({ kind: 'reply', from: replica, to: 'proxy', text: 'connection lost', lost: true, ...about });
      return this.answerForReplica(response, about);
    }
  }

  /** 502, as every proxy answers for a server whose connection is broken. The outcome of the request is unknown. */
  private answerForReplica(response: ServerResponse, about: { attempt: number; key: string }): Outcome {
    if (response.destroyed) return LOST;
    this.events.add({ kind: 'reply', from: 'proxy', to: 'client', text: '502', status: 502, ...about });
    const body = JSON.stringify({ title: 'Bad gateway', status: 502, outcome: 'unknown' });
    response.writeHead(502, { 'content-type': 'application/problem+json' }).end(body);
    return { kind: 'reply', status: 502, body, digest: digestOf(body), replayed: false };
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

const textOf = ({ method, url }: IncomingMessage) => `${method} ${url}`;
const contentOf = ({ headers }: IncomingMessage) => ({ 'content-type': headers['content-type'] ?? 'text/plain' });
