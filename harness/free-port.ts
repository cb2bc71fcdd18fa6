import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below 32,768, where systems begin to assign ports to outgoing connections. */
const PORTS = { first: 20_000, count: 12_000 };

/** Finds a free port that no outgoing connection takes while the process that listens on it is down. */
export async function portToKeep(): Promise<number> {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
