import { type AddressInfo, createServer } from 'node:net';
import { ProxiedConnection } from './proxied-connection.js';

/** Faults of the next COMMIT that passes the proxy. */
export type CommitFault =
  /** The server never receives the COMMIT; the client's connection breaks. */
  | 'drop request'
  /** The server commits; the client's connection breaks before the answer. */
  | 'drop reply'
  /** The client's connection breaks at once; the server receives the COMMIT only when `releaseLate` is called. */
  | 'late'
  /**
   * The server answers that the COMMIT was cancelled before it ran, and the transaction stays open. Only a COMMIT that was sent in one
   * write with the statement before it is affected, because workers that found no work send their COMMIT alone.
   */
  | 'cancel commit';

/** Faults of the next BEGIN that is followed by another statement. That statement reaches the server. */
export type BeginFault =
  /** The server answers that the BEGIN was cancelled. */
  | 'cancel begin'
  /** The transaction begins, and the server answers that a statement in the same message as BEGIN was cancelled. */
  | 'cancel behind begin';

/** All faults of one statement or one connection. */
export type ProxyFault =
  | CommitFault
  | BeginFault
  /** The server ends a new connection: ReadyForQuery and the FATAL error arrive in one chunk. */
  | 'end at birth';

/** The directions in which all data is dropped. */
export type Silence = 'both ways' | 'to the database' | 'from the database';

/** A TCP proxy on loopback between PostgreSQL and its clients that understands the messages of PostgreSQL. */
export interface PostgresProxy {
  url: string;
  /**
   * Arms a fault for one COMMIT, after `skip` other COMMITs have passed.
   *
   * @returns a function that disarms the fault if it has not landed yet
   */
  failCommit(fault: CommitFault, skip?: number): () => void;
  /**
   * Arms a fault for one BEGIN.
   *
   * @returns a function that disarms the fault
   */
  failBegin(fault: BeginFault): () => void;
  /**
   * Arms 'end at birth' for one new connection, after `skip` other new connections.
   *
   * @returns a function that disarms the fault
   */
  endAtBirth(skip?: number): () => void;
  /**
   * Forgets all existing connections, as a firewall does: everything that is sent on them is lost, including their end. New connections
   * work.
   *
   * @returns the number of forgotten connections
   */
  fallSilent(silence: Silence): number;
  /** Number of connections that are open at the client's side. */
  readonly connections: number;
  /** Number of faults that have landed. */
  landed: number;
  /** Number of statements that were sent through the proxy. */
  statements: number;
  /** Sends the late COMMIT that has waited longest, and resolves when the server has answered. Rejects if the connection ends first. */
  releaseLate(): Promise<void>;
  /**
   * Breaks all connections and accepts new ones.
   *
   * @returns the number of sockets that were open, at both sides
   */
  cut(): number;
  close(): Promise<void>;
}

/** At most one fault that waits for its statement or connection. */
class Armed<T> {
  private armed: { fault: T; skip: number } | undefined;

  arm(fault: T, skip = 0): () => void {
    const mine = { fault, skip };
    this.armed = mine;
    return () => {
      if (this.armed === mine) this.armed = undefined;
    };
  }

  /** @param fits whether the fault applies to this statement or connection */
  take(fits: (fault: T) => boolean = () => true): T | undefined {
    if (!this.armed || !fits(this.armed.fault) || this.armed.skip-- > 0) return undefined;
    const { fault } = this.armed;
    this.armed = undefined;
    return fault;
  }
}

/** @param onLanded called for each fault that lands */
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
