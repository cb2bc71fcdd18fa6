import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** The line between a broker and whoever uses it: a TCP proxy on loopback that can be cut. It owns its target. */
export interface Line {
  port: number;
  /** Ends every connection, and takes no other. */
  cut(): void;
  /** Passes nothing on and ends nothing: the other side has fallen silent. */
  stall(): void;
  /** Lets connections through again. */
  mend(): void;
  close(): Promise<void>;
}

/** @param port to listen on; 0 for any that is free */
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
    cut: () => ((state = 'cut'), endAll()),
    stall: () => (state = 'stalled'),
    // What was sent into the silence is lost, so a connection that lived through it is of no use.
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
