import { type AddressInfo, createServer } from 'node:net';
import { ProxiedConnection } from './proxied-connection.js';

/** What the proxy does with the next COMMIT that passes. */
export type CommitFault =
  /** The server never sees it; the client's connection breaks. */
  | 'drop request'
  /** The server commits; the client's connection breaks before the answer. */
  | 'drop reply'
  /** The client's connection breaks at once; the server sees the COMMIT only when `releaseLate` is called. */
  | 'late'
  /**
   * The server answers that the COMMIT was cancelled before it ran, and the transaction stays open. Only a COMMIT that was sent
   * in one write with the statement before it counts: workers that found nothing to do send their COMMIT alone.
   */
  | 'cancel commit';

/** What the proxy does with the next BEGIN that another statement was sent behind. That statement reaches the server. */
export type BeginFault =
  /** The server answers that the BEGIN was cancelled. */
  | 'cancel begin'
  /** The transaction begins, and the server answers that a statement in the same message as BEGIN was cancelled. */
  | 'cancel behind begin';

/** Everything that the proxy does to one statement or one connection. */
export type ProxyFault =
  | CommitFault
  | BeginFault
  /** The server ends a new connection: ReadyForQuery and the FATAL error arrive in one chunk. */
  | 'end at birth';

/** The directions in which everything gets lost. */
export type Silence = 'both ways' | 'to the database' | 'from the database';

/** A TCP proxy before PostgreSQL that understands its messages. It listens on loopback and owns its target. */
export interface PostgresProxy {
  url: string;
  /**
   * Arms the fault for one COMMIT, after `skip` others.
   *
   * @returns how to take it back, should it not have landed by then
   */
  failCommit(fault: CommitFault, skip?: number): () => void;
  /**
   * Arms the fault for one BEGIN.
   *
   * @returns how to take it back
   */
  failBegin(fault: BeginFault): () => void;
  /**
   * Arms 'end at birth' for one new connection, after `skip` others.
   *
   * @returns how to take it back
   */
  endAtBirth(skip?: number): () => void;
  /**
   * Forgets the connections that there are, as a firewall does: what is sent on them gets lost, and their end as well. New
   * connections work.
   *
   * @returns how many there were
   */
  fallSilent(silence: Silence): number;
  /** Connections that are open at the client's side. */
  readonly connections: number;
  /** How many faults have landed. */
  landed: number;
  /** How many statements have been sent through it. */
  statements: number;
  /** Lets the late COMMIT through that waits longest, and resolves once it has been answered; rejects when its connection ends before. */
  releaseLate(): Promise<void>;
  /**
   * Ends every connection, and takes others.
   *
   * @returns how many there were, at either side
   */
  cut(): number;
  close(): Promise<void>;
}

/** A fault that waits for its moment, or none. */
class Armed<T> {
  private order: { fault: T; skip: number } | undefined;

  arm(fault: T, skip = 0): () => void {
    const mine = { fault, skip };
    this.order = mine;
    return () => {
      if (this.order === mine) this.order = undefined;
    };
  }

  /** @param fits whether this is a moment for the fault */
  take(fits: (fault: T) => boolean = () => true): T | undefined {
    if (!this.order || !fits(this.order.fault) || this.order.skip-- > 0) return undefined;
    const { fault } = this.order;
    this.order = undefined;
    return fault;
  }
}

/** @param onLanded hears of each fault as it lands */
export async function startProxy(
  databaseUrl: string,
  onLanded: (fault: ProxyFault) => void = () => undefined,
): Promise<PostgresProxy> {
  const target = new URL(databaseUrl);
  const connections = new Set<ProxiedConnection>();
  const [commits, begins, births] = [new Armed<CommitFault>(), new Armed<BeginFault>(), new Armed<true>()];
  const late: (() => Promise<void>)[] = [];

  const server = createServer((client) => {
    const connection = new ProxiedConnection(client, target, {
      takeCommit: (isBehind) => commits.take((fault) => isBehind || fault !== 'cancel commit'),
      takeBegin: () => begins.take(),
      takeBirth: () => births.take() ?? false,
      sent: (statements) => (proxy.statements += statements),
      landed: (fault) => {
        proxy.landed++;
        onLanded(fault);
      },
      keepLate: (release) => late.push(release),
    });
    connections.add(connection);
    const forget = () => connection.sockets.every(({ closed }) => closed) && connections.delete(connection);
    for (const socket of connection.sockets) socket.on('close', forget);
  });

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(target);
  url.port = String((server.address() as AddressInfo).port);
  const proxy: PostgresProxy = {
    url: url.href,
    get connections() {
      return [...connections].filter(({ isOpen }) => isOpen).length;
    },
    landed: 0,
    statements: 0,
    failCommit: (fault, skip) => commits.arm(fault, skip),
    failBegin: (fault) => begins.arm(fault),
    endAtBirth: (skip) => births.arm(true, skip),
    fallSilent: (silence) => [...connections].filter((connection) => connection.fallSilent(silence)).length,
    releaseLate: async () => {
      const release = late.shift();
      if (!release) throw new Error('No COMMIT has been held back');
      await release();
    },
    cut: () => {
      const open = [...connections].flatMap(({ sockets }) => sockets.filter(({ closed }) => !closed));
      open.forEach((socket) => socket.destroy());
      return open.length;
    },
    close: async () => {
      proxy.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
