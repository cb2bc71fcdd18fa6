import { connect, type Socket } from 'node:net';
import {
  CANCELLED,
  CANCELLED_BEHIND_BEGIN,
  isIdleAfter,
  type Message,
  MessageSplitter,
  TERMINATED,
} from './postgres-messages.js';
import type { BeginFault, CommitFault, ProxyFault, Silence } from './proxy.js';

/** The faults that a connection takes from its proxy, and the events that it reports to the proxy. */
export interface ProxyHandle {
  /**
   * Returns the fault for a COMMIT, if one is armed.
   *
   * @param isBehind whether the COMMIT was sent in one write with the statement before it
   */
  takeCommit(isBehind: boolean): CommitFault | undefined;
  takeBegin(): BeginFault | undefined;
  takeBirth(): boolean;
  sent(statements: number): void;
  landed(fault: ProxyFault): void;
  /** Stores the function that sends a late COMMIT. */
  keepLate(release: () => Promise<void>): void;
}

/**
 * How long the server's side of a forgotten connection stays open after the client has closed its own side. A real server also notices
 * late, by its keep-alive probes. The time is short, because the server has only 100 connections.
 */
const FORGOTTEN_MS = 10_000;

/** One connection through the proxy: two sockets, and the faults between them. */
export class ProxiedConnection {
  readonly sockets: readonly Socket[];
  private readonly upstream: Socket;
  private readonly splitter = new MessageSplitter();
  private readonly lost = { toDatabase: false, fromDatabase: false };
  /** Whether a fault has met a COMMIT of this connection. Nothing else passes then. */
  private isMute = false;
  private isBorn = false;

  constructor(
    private readonly client: Socket,
    target: URL,
    private readonly proxy: ProxyHandle,
  ) {
    this.upstream = connect(Number(target.port), target.hostname);
    this.sockets = [client, this.upstream];
    for (const socket of this.sockets) socket.on('error', () => socket.destroy());
    client.on('data', (data) => this.fromClient(data));
    client.on('close', () => this.clientEnded());
    this.upstream.on('data', (data) => this.fromDatabase(data));
    // `destroySoon` first delivers the data that the server sent before it ended the connection.
    this.upstream.on('close', () => this.lost.fromDatabase || client.destroySoon());
  }

  get isOpen(): boolean {
    return !this.client.destroyed;
  }

  /** @returns whether the connection was open and passed all data before */
  fallSilent(silence: Silence): boolean {
    const passes = this.isOpen && !this.lost.toDatabase && !this.lost.fromDatabase;
    if (silence !== 'from the database') this.lost.toDatabase = true;
    if (silence !== 'to the database') this.lost.fromDatabase = true;
    return passes;
  }

  private fromDatabase(data: Buffer): void {
    if (this.isMute || this.lost.fromDatabase) return;
    const isBirth = !this.isBorn && isIdleAfter(data);
    this.isBorn ||= isBirth;
    if (!isBirth || !this.proxy.takeBirth()) return void this.client.write(data);
    // Sent in one write, so that the client receives both before it can send anything.
    this.client.write(Buffer.concat([data, TERMINATED]));
    this.upstream.destroy();
    this.proxy.landed('end at birth');
  }

  private fromClient(data: Buffer): void {
    if (this.lost.toDatabase) return;
    const messages = this.splitter.push(data);
    messages.forEach((message, i) => {
      if (this.isMute) return;
      if (message.isStatement) this.proxy.sent(1);
      const isFollowed = i + 1 < messages.length || this.splitter.hasMore;
      if (message.text === 'COMMIT') this.commit(message, i > 0);
      else if (message.text.startsWith('BEGIN') && isFollowed) this.begin(message);
      else this.upstream.write(message.bytes);
    });
  }

  private clientEnded(): void {
    if (this.lost.toDatabase) setTimeout(() => this.upstream.destroy(), FORGOTTEN_MS).unref();
    else if (!this.isMute) this.upstream.destroy();
  }

  private begin({ bytes }: Message): void {
    const fault = this.proxy.takeBegin();
    this.upstream.write(
      fault ? { 'cancel begin': CANCELLED, 'cancel behind begin': CANCELLED_BEHIND_BEGIN }[fault] : bytes,
    );
    if (fault) this.proxy.landed(fault);
  }

  private commit({ bytes }: Message, isBehind: boolean): void {
    const fault = this.proxy.takeCommit(isBehind);
    switch (fault) {
      case undefined:
        return void this.upstream.write(bytes);
      case 'cancel commit':
        this.upstream.write(CANCELLED);
        return this.proxy.landed(fault);
      case 'drop request':
        this.isMute = true;
        this.upstream.destroy();
        break;
      case 'drop reply':
        this.isMute = true;
        // The fault has landed when the server has answered everything, and so has committed.
        return this.send(bytes, () => this.breakOff(fault));
      case 'late':
        this.isMute = true;
        this.proxy.keepLate(() => this.release(bytes));
    }
    this.breakOff(fault);
  }

  private breakOff(fault: ProxyFault): void {
    this.client.destroy();
    this.proxy.landed(fault);
  }

  private release(commit: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const hasEnded = () => reject(new Error('The connection ended before the COMMIT was answered'));
      if (this.upstream.destroyed) return hasEnded();
      this.upstream.once('close', hasEnded);
      this.send(commit, resolve);
    });
  }

  /** Sends the COMMIT of a client whose connection is already broken, and ends the connection to the server after the answer. */
  private send(commit: Buffer, answered: () => void): void {
    this.upstream.on('data', (data: Buffer) => {
      if (!isIdleAfter(data)) return;
      answered();
      this.upstream.destroy();
    });
    this.upstream.write(commit);
  }
}
