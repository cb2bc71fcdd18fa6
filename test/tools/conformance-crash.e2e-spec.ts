// Goal: the kit finds what a service does to a key when it crashes between effect and reply, and when the key expires.
// Method: let the kit kill and restart this service, and servers with durable state and one fault each.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { DelaySearch } from '../../conformance/checks/delay-search.js';
import { portToKeep } from '../../harness/free-port.js';
import { Program } from '../../harness/processes.js';
import { Kit } from '../support/conformance.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { killAll, spawnService } from '../support/process.js';
import { PATIENCE, until } from '../support/waiting.js';

let kit: Kit;
let folder: string;
beforeAll(async () => {
  kit = await Kit.build();
});
afterAll(() => kit?.remove());

/** The file with the process id of the server. It exists only while the server runs, so that no other process is killed by its old id. */
const pidFile = () => join(folder, 'pid');
const KILL = () => `kill -9 $(cat ${pidFile()}) && rm ${pidFile()}`;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'crash-'));
});
afterEach(async () => {
  if (existsSync(pidFile())) process.kill(Number(readFileSync(pidFile(), 'utf8')), 'SIGKILL');
  await killAll();
  rmSync(folder, { recursive: true });
});

describe('the check crash of the conformance kit', () => {
  const inspect = async (fault: string, ...more: string[]) => {
    const port = await portToKeep();
    const args = [resolve('test/support/crashing-server.js'), String(port), folder, fault];
    Program.run(process.execPath, { args });
    await until(() => existsSync(pidFile()));
    const restart = ['--restart-command', `exec ${[process.execPath, ...args].map((word) => `'${word}'`).join(' ')}`];
    const options = ['--kill-command', KILL(), ...restart, '--lease', '5', '--only', 'crash', ...more];
    return kit.check(`http://127.0.0.1:${port}`, ...options);
  };

  it('finds one effect of each key on a server that takes over a key whose lease has expired', async () => {
    const report = await inspect('none', '--in-progress', '409');
    expect(report.findings[0]).toMatchObject({ verdict: 'passed' });
    expect(report.findings[0]?.detail).toMatch(/[1-9]\d* between effect and reply/);
    expect(report.progress).toMatch(/crash: crash 1 of at most 13: kills the service \d+ ms after a request\n/);
  });

  it('does not take the 503 of a service that is being stopped for an acknowledged reply', async () => {
    const stop = `pid=$(cat ${pidFile()}) && kill $pid && rm ${pidFile()} && while kill -0 $pid; do sleep 0.1; done`;
    const report = await inspect('none', '--kill-command', stop);
    expect(report.findings[0]).toMatchObject({ verdict: 'passed' });
  });

  it.each([
    ['never takes over', 'stuck key', /within the lease of 1 s, the last answer was 409: {"title":"in flight"}/],
    [
      'makes the effect again',
      'double effect',
      /expected 1 effect .* between effect and reply, and which got a reply [\d.]+ s later, got 2/,
    ],
    [
      'records the reply first',
      'lost effect',
      /expected 1 effect .* before the effect, and which got a reply [\d.]+ s later, got 0/,
    ],
  ])('finds that a server that %s fails the check crash, with a %s', async (fault, harm, detail) => {
    const report = await inspect(fault, '--lease', '1');
    expect(report.findings[0]).toMatchObject({ verdict: 'failed', harm });
    expect(report.findings[0]?.detail).toMatch(detail);
    expect(report.findings[0]?.request).toMatch(/^curl /);
  });

  it('does not decide, and leaves the server alone, if the kill command kills nothing', async () => {
    const report = await inspect('none', '--kill-command', 'true', '--restart-command', 'true');
    expect([report.exitCode, report.findings[0]?.detail]).toEqual([3, expect.stringContaining('13 after the reply')]);
    expect(() => process.kill(Number(readFileSync(pidFile(), 'utf8')), 0)).not.toThrow();
  });

  it.each([
    ['--kill-command', 'echo not allowed >&2; exit 5', /--kill-command: the command ended with 5: not allowed/],
    ['--restart-command', 'exit 6', /--restart-command: the command ended with 6/],
  ])('ends with exit code 2 if the command of %s fails', async (option, command, message) => {
    const port = await portToKeep();
    Program.run(process.execPath, { args: [resolve('test/support/crashing-server.js'), String(port), folder, 'none'] });
    await until(() => existsSync(pidFile()));
    const commands = ['--kill-command', KILL(), '--restart-command', 'true', option, command];
    const { exitCode, stderr } = await kit.run('--url', `http://127.0.0.1:${port}`, '--only', 'crash', ...commands);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(message)]);
  });

  it('finds the delay between effect and reply although a kill takes 40 ms', () => {
    const search = new DelaySearch(300, 310);
    const falls: string[] = [];
    while (falls.length < 12 && falls.at(-1) !== 'hit') {
      const at = search.next() + 40;
      falls.push(at < 300 ? 'early' : at < 310 ? 'hit' : 'late');
      search.learn(falls.at(-1) as 'early');
    }
    expect(falls.at(-1)).toBe('hit');
  });
});

describe('the conformance kit on this service, with short leases and lifetimes', () => {
  let database: TestDatabase;
  afterEach(() => database?.drop());

  it('finds that this service has one effect of each key after crashes, and that the bank captured each charge once', async () => {
    database = await createDatabase();
    const port = await portToKeep();
    const env = { ...PATIENCE, DATABASE_URL: database.url, PORT: String(port), IDEMPOTENCY_LEASE_SECONDS: '2' };
    const settings = Object.entries(env).map(([name, value]) => `${name}='${value}'`);
    // In another folder, because a .env file of the project is not meant for the test. The shell becomes the service, so its process id is the service's.
    const start = `echo $$ > ${pidFile()}; cd ${folder}; exec env ${settings.join(' ')} '${process.execPath}' '${resolve('dist/src/main.js')}'`;
    await Program.run('sh', { args: ['-c', start] }).served();
    const slow = ['--slow-body', '{"amount": 1999, "currency": "eur", "source": "tok_slow"}'];
    const commands = ['--kill-command', KILL(), '--restart-command', start, '--lease', '60'];
    const report = await kit.check(`http://127.0.0.1:${port}`, ...slow, ...commands, '--only', 'crash');
    expect(report.findings[0]).toMatchObject({ verdict: 'passed' });
    expect(report.findings[0]?.detail).toMatch(/[23] between effect and reply.*a reply at most \d/);
    const [counts] = await database.sql<{ charges: number; captures: number; captured: number }>(
      `SELECT (SELECT count(*) FROM charges)::int AS charges, (SELECT count(*) FROM bank.captures)::int AS captures,
              (SELECT count(DISTINCT charge_id) FROM bank.captures)::int AS captured`,
    );
    expect(counts).toEqual({
      charges: counts?.['charges'],
      captures: counts?.['charges'],
      captured: counts?.['charges'],
    });
  });

  it('finds that this service has one new effect of each expired key', async () => {
    database = await createDatabase();
    const service = await spawnService(database.url, { IDEMPOTENCY_RETENTION_HOURS: '0.001' });
    const report = await kit.check(service.url, '--ttl', '3.6', '--only', 'expiry');
    expect(report.findings[0]).toMatchObject({ verdict: 'passed' });
  });
});
