import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** What the proxy does with the next COMMIT that passes. */
export type CommitFault =
  /** The server never sees it; the client's connection breaks. */
  | 'drop request'
  /** The server commits; the client's connection breaks before the answer. */
  | 'drop reply'
  /** The client's connection breaks at once; the server sees the COMMIT only when `releaseLate` is called. */
  | 'late';

/** A TCP proxy before PostgreSQL that knows a COMMIT when it sees one. It listens on loopback and owns its target. */
export interface PostgresProxy {
  url: string;
  /**
   * Arms the fault for one COMMIT, after `skip` others.
   *
   * @returns how to take it back, should it not have landed by then
   */
  failCommit(fault: CommitFault, skip?: number): () => void;
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

/** @param onLanded hears of each fault as it lands */
export async function startProxy(
  databaseUrl: string,
  onLanded: (fault: CommitFault) => void = () => undefined,
): Promise<PostgresProxy> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let armed: { fault: CommitFault; skip: number } | undefined;
  const late: (() => Promise<void>)[] = [];

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => sockets.delete(socket));
    }
    let mute = false;
    upstream.on('data', (data) => mute || client.write(data));
    upstream.on('close', () => client.destroy());
    client.on('close', () => mute || upstream.destroy());
    client.on('data', (data) => {
      if (mute) return;
      for (const { message, isCommit, isStatement } of messagesOf(data)) {
        if (isStatement) proxy.statements++;
        const fault = isCommit ? takeFault() : undefined;
        if (fault) return land(fault, message);
        upstream.write(message);
      }
    });

    /** What is behind the COMMIT is not sent: the client waits for the answer to it. */
    function land(fault: CommitFault, commit: Buffer): void {
      mute = true;
      if (fault === 'drop reply') {
        // It has landed once the server has answered all that it was sent, and so has committed.
        upstream.on('data', (data: Buffer) => {
          if (!isIdleAfter(data)) return;
          count(fault);
          client.destroy();
          upstream.destroy();
        });
        upstream.write(commit);
        return;
      }
      if (fault === 'drop request') upstream.destroy();
      if (fault === 'late') {
        late.push(
          () =>
            new Promise((resolve, reject) => {
              const hasEnded = () => reject(new Error('The connection ended before the COMMIT was answered'));
              if (upstream.destroyed) return hasEnded();
              upstream.once('close', hasEnded);
              upstream.on('data', (data: Buffer) => isIdleAfter(data) && (resolve(), upstream.destroy()));
              upstream.write(commit);
            }),
        );
      }
      client.destroy();
      count(fault);
    }
  });

  function count(fault: CommitFault): void {
    proxy.landed++;
    onLanded(fault);
  }

  function takeFault(): CommitFault | undefined {
    if (!armed || armed.skip-- > 0) return undefined;
    const { fault } = armed;
    armed = undefined;
    return fault;
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(target);
  url.port = String((server.address() as AddressInfo).port);
  const proxy: PostgresProxy = {
    url: url.href,
    landed: 0,
    statements: 0,
    failCommit: (fault, skip = 0) => {
      const mine = { fault, skip };
      armed = mine;
      return () => {
        if (armed === mine) armed = undefined;
      };
    },
    releaseLate: async () => {
      const release = late.shift();
      if (!release) throw new Error('No COMMIT has been held back');
      await release();
    },
    cut: () => {
      const { size } = sockets;
      sockets.forEach((socket) => socket.destroy());
      return size;
    },
    close: async () => {
      proxy.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

interface Message {
  message: Buffer;
  isCommit: boolean;
  /** Query ('Q') or Execute ('E'). */
  isStatement: boolean;
}

/** The messages in what a client sends: it sends whole messages, and a startup, which has no type, alone. */
function* messagesOf(data: Buffer): Generator<Message> {
  if (data[0] === 0) yield { message: data, isCommit: false, isStatement: false };
  for (let at = 0; at < data.length && data[0] !== 0;) {
    const message = data.subarray(at, at + 1 + data.readUInt32BE(at + 1));
    at += message.length;
    const isStatement = message[0] === 'Q'.charCodeAt(0) || message[0] === 'E'.charCodeAt(0);
    yield { message, isCommit: message.toString('latin1') === COMMIT, isStatement };
  }
}

/** A simple query message: 'Q', its length, and the statement ending in a zero byte. */
const COMMIT = 'Q\0\0\0\x0bCOMMIT\0';

/** ReadyForQuery, outside a transaction: 'Z', its length, 'I'. */
const isIdleAfter = (data: Buffer) => data.subarray(-6).toString('latin1') === 'Z\0\0\0\x05I';
