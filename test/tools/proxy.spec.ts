// Goal: prove that the proxy in harness/ makes exactly the faults that tests ask for, and leaves no connection behind.
// Method: put the proxy before a server that records what arrives and answers like PostgreSQL.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type CommitFault, type PostgresProxy, type ProxyFault, startProxy } from '../../harness/proxy.js';
import { until } from '../support/waiting.js';

const COMMIT = Buffer.from('Q\0\0\0\x0bCOMMIT\0');
const READY = 'Z\0\0\0\x05I';
const ERROR = 'E\0\0\0\x05\0';

/** If true, the server below answers with an error and closes, instead of confirming a COMMIT. */
let givesUp: boolean;
const connections = new Set<Socket>();
let accepted = 0;
const commits: string[] = [];
const server = createServer((socket) => {
  accepted++;
  connections.add(socket);
  socket.on('close', () => connections.delete(socket)).on('error', () => undefined);
  socket.on('data', (data) => {
    commits.push(data.toString());
    if (givesUp) socket.end(ERROR);
    else socket.write(READY);
  });
});
let proxy: PostgresProxy;
let landed: ProxyFault[];

beforeEach(async () => {
  commits.length = 0;
  givesUp = false;
  landed = [];
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  proxy = await startProxy(`postgres://127.0.0.1:${port}/`, (fault) => landed.push(fault));
});

afterEach(async () => {
  await proxy.close();
  await new Promise((resolve) => server.close(resolve));
});

async function commit(): Promise<Socket> {
  const client = connect(Number(new URL(proxy.url).port), '127.0.0.1').on('error', () => undefined);
  const before = accepted;
  await until(() => accepted > before);
  client.write(COMMIT);
  return client;
}

describe('startProxy', () => {
  it.each<CommitFault>(['drop request', 'drop reply'])(
    'closes both sides of a connection whose COMMIT meets the fault %s',
    async (fault) => {
      proxy.failCommit(fault);
      const client = await commit();
      await until(() => client.closed && connections.size === 0);
      expect(landed).toEqual([fault]);
      expect(commits).toHaveLength(fault === 'drop reply' ? 1 : 0);
    },
  );

  it('closes the client of a late COMMIT, and the server side after its release', async () => {
    proxy.failCommit('late');
    const client = await commit();
    await until(() => client.closed);
    expect(commits).toHaveLength(0);
    await proxy.releaseLate();
    expect(commits).toHaveLength(1);
    await until(() => connections.size === 0);
  });

  it('delivers each of two late COMMITs when it is released', async () => {
    const clients: Socket[] = [];
    for (let n = 0; n < 2; n++) {
      proxy.failCommit('late');
      clients.push(await commit());
      await until(() => clients.every(({ closed }) => closed));
    }
    expect(commits).toHaveLength(0);
    await proxy.releaseLate();
    await proxy.releaseLate();
    expect(commits).toHaveLength(2);
    await until(() => connections.size === 0);
    await expect(proxy.releaseLate()).rejects.toThrow('No COMMIT has been held back');
  });

  it('delivers a COMMIT whose fault was taken back, and keeps a later fault', async () => {
    const takeBack = proxy.failCommit('drop request');
    takeBack();
    await commit();
    await until(() => commits.length === 1);
    proxy.failCommit('drop request');
    takeBack();
    const client = await commit();
    await until(() => client.closed);
    expect(commits).toHaveLength(1);
    expect(landed).toEqual(['drop request']);
  });

  it('rejects the release of a late COMMIT whose connection has ended', async () => {
    proxy.failCommit('late');
    const client = await commit();
    await until(() => client.closed);
    expect(proxy.cut()).toBe(1);
    await until(() => connections.size === 0);
    await expect(proxy.releaseLate()).rejects.toThrow('before the COMMIT was answered');
    expect(commits).toHaveLength(0);
  });

  it('rejects the release of a late COMMIT that the server answers with an error', async () => {
    proxy.failCommit('late');
    const client = await commit();
    await until(() => client.closed);
    givesUp = true;
    await expect(proxy.releaseLate()).rejects.toThrow('before the COMMIT was answered');
  });

  /** Sends bytes on a new connection, and records the answers. */
  async function open(...chunks: Buffer[]): Promise<{ client: Socket; received: string[] }> {
    const client = connect(Number(new URL(proxy.url).port), '127.0.0.1').on('error', () => undefined);
    const received: string[] = [];
    client.on('data', (data) => received.push(data.toString('latin1')));
    for (const chunk of chunks) {
      const before = commits.length;
      client.write(chunk);
      if (chunk === chunks.at(-1)) await until(() => commits.length > before || client.closed);
    }
    return { client, received };
  }
  const query = (text: string) => {
    const message = Buffer.from(`Q\0\0\0\0${text}\0`);
    message.writeUInt32BE(message.length - 1, 1);
    return message;
  };
  const BEGIN = query('BEGIN ISOLATION LEVEL READ COMMITTED');

  it('recognises a COMMIT whose bytes come in two pieces', async () => {
    proxy.failCommit('drop request');
    const client = connect(Number(new URL(proxy.url).port), '127.0.0.1').on('error', () => undefined);
    client.write(COMMIT.subarray(0, 3));
    await until(() => accepted > 0 && connections.size === 1);
    client.write(COMMIT.subarray(3));
    await until(() => client.closed);
    expect([commits, landed]).toEqual([[], ['drop request']]);
  });

  it('cancels only a BEGIN with a statement sent behind it, and delivers that statement', async () => {
    proxy.failBegin('cancel begin');
    await open(BEGIN);
    expect(commits).toEqual([BEGIN.toString()]);
    const behind = query('SELECT 1');
    await open(Buffer.concat([BEGIN, behind]));
    await until(() => commits.join('').endsWith(behind.toString()));
    expect(commits.slice(1).join('')).toContain("ERRCODE = '57014'");
    expect(commits.slice(1).join('')).not.toContain('BEGIN ISOLATION');
    expect(landed).toEqual(['cancel begin']);
  });

  it('cancels only a COMMIT that was sent behind a statement', async () => {
    proxy.failCommit('cancel commit');
    await open(COMMIT);
    expect(commits).toEqual([COMMIT.toString()]);
    await open(Buffer.concat([query('SELECT 1'), COMMIT]));
    await until(() => landed.length === 1);
    await until(() => commits.join('').includes("ERRCODE = '57014'"));
    expect(landed).toEqual(['cancel commit']);
  });

  it('ends a connection in the same chunk that says that the connection is ready', async () => {
    proxy.endAtBirth();
    const { client, received } = await open(query('startup'));
    await until(() => client.closed);
    expect(received).toHaveLength(1);
    expect(received[0]?.startsWith(`${READY}E`)).toBe(true);
    expect(received[0]).toContain('57P01');
    expect(landed).toEqual(['end at birth']);
  });

  it.each([
    ['both ways', false, false],
    ['to the database', false, true],
    ['from the database', true, false],
  ] as const)(
    'drops the bytes of a connection %s without closing it, and serves new connections',
    async (silence, isHeard, isAnswered) => {
      const { client, received } = await open(query('one'));
      await until(() => received.length === 1);
      const [upstream] = [...connections];
      expect([proxy.connections, proxy.fallSilent(silence), proxy.fallSilent(silence)]).toEqual([1, 1, 0]);
      client.write(query('two'));
      upstream?.write(READY);
      // Bytes that are not dropped have arrived by the time that a new connection is answered.
      const fresh = await open(query('three'));
      await until(() => fresh.received.length === 1);
      if (isHeard) await until(() => commits.some((text) => text.includes('two')));
      if (isAnswered) await until(() => received.length === 2);
      expect([commits.some((text) => text.includes('two')), received.length]).toEqual([isHeard, isAnswered ? 2 : 1]);
      expect(client.closed).toBe(false);
      client.destroy();
      fresh.client.destroy();
      await until(() => proxy.connections === 0);
      if (isHeard) await until(() => upstream?.closed === true);
      expect(upstream?.closed).toBe(isHeard);
    },
  );
});
