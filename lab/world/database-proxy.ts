import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { MessageSplitter } from '../../harness/postgres-messages.js';
import type { EventLog, ReplicaName } from './events.js';
import { TransactionLog } from './transaction-log.js';

const WRITES_CHARGE = /\b(INTO|UPDATE)\s+"?(\w+"?\.)?"?charges\b/i;

/** The proxy between a replica and PostgreSQL. It reports every commit, and can lose the answer to a commit. */
export class DatabaseProxy {
  /** Whether the answer to the next commit that writes a charge is to be lost. */
  isArmed = false;
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((client) => this.pass(client));

  private constructor(
    private readonly replica: ReplicaName,
    private readonly target: URL,
    private readonly events: EventLog,
  ) {}

  static async start(replica: ReplicaName, databaseUrl: string, events: EventLog): Promise<DatabaseProxy> {
    const proxy = new DatabaseProxy(replica, new URL(databaseUrl), events);
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    const url = new URL(this.target);
    url.port = String((this.server.address() as AddressInfo).port);
    return url.href;
  }

  /** Loses the answer to the next commit that writes a charge. The connection of the replica breaks instead. */
  loseCommitAnswer(): void {
    this.isArmed = true;
    this.events.note(this.replica, 'The answer to the next COMMIT of a charge will be lost.', {
      fault: 'lose-commit-answer',
    });
  }

  /** Ends every fault. */
  behave(): void {
    this.isArmed = false;
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
        if (this.isArmed && commit && log.matches(commit, WRITES_CHARGE)) {
          this.isArmed = false;
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
        if (commit?.changes.length) this.report(commit.changes, commit.isLost);
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

  private report(changes: readonly string[], isLost: boolean): void {
    this.events.add({
      kind: 'commit',
      from: this.replica,
      to: 'postgres',
      text: `commit: ${changes.join('; ')}`,
      lost: isLost,
    });
  }
}
