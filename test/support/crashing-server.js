// A server whose keys and effects are files, so that they survive when its process is killed:
//   node crashing-server.js PORT FOLDER FAULT
// The faults: `none`; `never takes over` keeps a key in flight for ever; `makes the effect again` after a crash; `records the reply first`
// and loses the effect if it crashes before the effect.
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setImmediate } from 'node:timers';
import { setTimeout } from 'node:timers/promises';

const [port = '', folder = '', fault = ''] = process.argv.slice(2);
const LEASE_MS = 500;
/** The pauses before and after the effect, in which a crash can fall. */
const PAUSE_MS = 150;

const effectsFile = join(folder, 'effects');
const effects = () => (existsSync(effectsFile) ? readFileSync(effectsFile, 'utf8').trim().split('\n') : []);
const fileOf = (/** @type {string} */ key) => join(folder, `key-${key.replaceAll(/\W/g, '_')}`);

/** Replaces a file atomically. */
function save(/** @type {string} */ key, /** @type {object} */ record) {
  const draft = `${fileOf(key)}.${randomUUID()}`;
  writeFileSync(draft, JSON.stringify(record));
  renameSync(draft, fileOf(key));
}

/** @param {string} key */
async function charge(key) {
  const file = fileOf(key);
  let id = randomUUID();
  if (existsSync(file)) {
    const record = JSON.parse(readFileSync(file, 'utf8'));
    if (record.reply) return [200, record.reply, { 'idempotent-replayed': 'true' }];
    const isExpired = Date.now() > record.claimedAt + LEASE_MS;
    if (!isExpired || fault === 'never takes over') return [409, '{"title":"in flight"}', {}];
    if (fault !== 'makes the effect again') id = record.id;
  }
  save(key, { id, claimedAt: Date.now() });
  const reply = JSON.stringify({ id });
  if (fault === 'records the reply first') save(key, { id, reply });
  await setTimeout(PAUSE_MS);
  if (!effects().includes(id)) appendFileSync(effectsFile, `${id}\n`);
  await setTimeout(PAUSE_MS);
  save(key, { id, reply });
  return [200, reply, {}];
}

/** @type {Set<import('node:http').ServerResponse>} */
const open = new Set();
// A request in flight gets a 503 if the server is stopped by a signal that it can handle.
process.on('SIGTERM', () => {
  for (const response of open) if (!response.headersSent) response.writeHead(503).end('{}');
  setImmediate(() => process.exit());
});

createServer((request, response) => {
  open.add(response);
  response.on('close', () => open.delete(response));
  const answer = async () => {
    if (request.method === 'GET') return [200, JSON.stringify({ data: effects().map((id) => ({ id })) }), {}];
    await text(request);
    return charge(String(request.headers['idempotency-key']));
  };
  void answer().then(([status, body, headers]) => {
    if (!response.headersSent) response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
  });
}).listen(Number(port), '127.0.0.1', () => writeFileSync(join(folder, 'pid'), String(process.pid)));
