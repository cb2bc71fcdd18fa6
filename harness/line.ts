import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy on loopback, between a server and its clients, that can break or stall all connections. */
export interface Line {
  port: number;
  /** Sends new connections to another server. Existing connections stay where they are. */
  aim(targetPort: number): void;
  /** Breaks all connections and refuses new ones. */
  cut(): void;
  /** Drops all data without breaking a connection, as if the other side had stopped answering. */
  stall(): void;
  /** Accepts connections again. */
  mend(): void;
  close(): Promise<void>;
}

/** @param port to listen on; 0 for any free port */
export async function startLine(targetPort: number, port = 0): Promise<Line> {
  const sockets = new Set<Socket>();
  let state: 'whole' | 'cut' | 'stalled' = 'whole';
  const endAll = () => sockets.forEach((socket) => socket.destroy());

  const server = createServer((client) => {
    if (state === 'cut') return client.destroy();
    const upstream = connect(targetPort, '127.0.0.1');
    const pass = (to: Socket) => (data: Buffer) => state === 'whole' && to.write(data);
    client.on('data', pass(upstream));
    upstream.on('data', pass(client));
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => (sockets.delete(socket), other.destroy()));
    }
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    aim: (port) => void (targetPort = port),
    cut: () => ((state = 'cut'), endAll()),
    stall: () => (state = 'stalled'),
    // Data that was sent during a stall is lost, so the connections of that time cannot be used again.
    mend: () => {
      if (state === 'stalled') endAll();
      state = 'whole';
    },
    close: async () => {
      endAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
