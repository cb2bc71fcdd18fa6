import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type CommitFault, type PostgresProxy, type ProxyFault, startProxy } from './support/proxy.js';
import { until } from './support/waiting.js';

const COMMIT = Buffer.from('Q\0\0\0\x0bCOMMIT\0');
const READY = 'Z\0\0\0\x05I';
const ERROR = 'E\0\0\0\x05\0';

/** Something that answers whatever it is sent, as PostgreSQL answers a COMMIT, or gives up instead. */
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

describe('the proxy before PostgreSQL', () => {
  it.each<CommitFault>(['drop request', 'drop reply'])('leaves no connection behind: %s', async (fault) => {
    proxy.failCommit(fault);
    const client = await commit();
    await until(() => client.closed && connections.size === 0);
    expect(landed).toEqual([fault]);
    expect(commits).toHaveLength(fault === 'drop reply' ? 1 : 0);
  });

  it('leaves no connection behind: late', async () => {
    proxy.failCommit('late');
    const client = await commit();
    await until(() => client.closed);
    expect(commits).toHaveLength(0);
    await proxy.releaseLate();
    expect(commits).toHaveLength(1);
    await until(() => connections.size === 0);
  });

  it('lets each of two late COMMITs through', async () => {
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

  it('lets a COMMIT through when its fault was taken back, and takes back no other', async () => {
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

  it('says that a late COMMIT has not been answered, when its connection has ended before', async () => {
    proxy.failCommit('late');
    const client = await commit();
    await until(() => client.closed);
    expect(proxy.cut()).toBe(1);
    await until(() => connections.size === 0);
    await expect(proxy.releaseLate()).rejects.toThrow('before the COMMIT was answered');
    expect(commits).toHaveLength(0);
  });

  it('does not take an error for the answer to a late COMMIT', async () => {
    proxy.failCommit('late');
    const client = await commit();
    await until(() => client.closed);
    givesUp = true;
    await expect(proxy.releaseLate()).rejects.toThrow('before the COMMIT was answered');
  });
});
