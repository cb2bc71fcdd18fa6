import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A bank over HTTP that captures every charge once. It keeps its captures in memory, so PostgreSQL has no work with them. */

/** A message to the parent: the URL of the bank, or the number of its captures, which is the answer to any message of the parent. */
export type BankReport = { kind: 'serves'; url: string } | { kind: 'captures'; captures: number };

const captured = new Set<string>();
const report = (message: BankReport) => void process.send?.(message);

const server = createServer((request, response) => {
  captured.add(String(request.headers['idempotency-key']));
  request.resume().once('end', () => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
});
process.on('message', () => report({ kind: 'captures', captures: captured.size }));
process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => {
  report({ kind: 'serves', url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
