import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { MessageSplitter } from '../../harness/postgres-messages.js';
import type { EventStream, ReplicaName } from './events.js';
import { TransactionLog } from './transaction-log.js';

/** The proxy between a replica and PostgreSQL. It reports every commit, and can lose the answer to a commit. */
export class DatabaseProxy {
  private toLose: RegExp | undefined;
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((client) => this.pass(client));

  private constructor(
    private readonly replica: ReplicaName,
    private readonly target: URL,
    private readonly events: EventStream,
  ) {}

  static async start(replica: ReplicaName, databaseUrl: string, events: EventStream): Promise<DatabaseProxy> {
    const proxy = new DatabaseProxy(replica, new URL(databaseUrl), events);
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    const url = new URL(this.target);
    url.port = String((this.server.address() as AddressInfo).port);
    return url.href;
  }

  /** Loses the answer to the next commit of a transaction with a statement that matches. The client's connection breaks instead. */
  loseCommitAnswer(statement: RegExp): void {
    this.toLose = statement;
  }

  get isArmed(): boolean {
    return this.toLose !== undefined;
  }

  /** Ends every fault. */
  behave(): void {
    this.toLose = undefined;
  }

  async end(): Promise<void> {
    this.sockets.forEach((socket) => socket.destroy());
    await new Promise((resolve) => this.server.close(resolve));
  }

  private pass(client: Socket): void {
    const upstream = connect(Number(this.target.port), this.target.hostname);
    const log = new TransactionLog();
    const [fromClient, fromServer] = [new MessageSplitter(), new MessageSplitter()];
    let isMute = false;

    client.on('data', (data) => {
      for (const { bytes } of fromClient.push(data)) {
        const commit = log.sent(bytes);
        if (commit && this.toLose && log.matches(commit, this.toLose)) {
          this.toLose = undefined;
          isMute = true;
          commit.isLost = true;
        }
      }
      upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (!isMute) client.write(data);
      for (const { bytes } of fromServer.push(data)) {
        const commit = log.answered(bytes);
        if (commit?.tables.length) this.report(commit.tables, commit.isLost);
        if (commit?.isLost) client.destroy();
      }
    });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => (this.sockets.delete(socket), other.destroySoon()));
    }
  }

  private report(tables: readonly string[], isLost: boolean): void {
    this.events.add({
      kind: 'commit',
      from: this.replica,
      to: 'postgres',
      text: `commit: ${tables.join(', ')}`,
      lost: isLost,
    });
  }
}
