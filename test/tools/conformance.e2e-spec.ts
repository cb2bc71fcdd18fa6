import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { CHECKS } from '../../conformance/checks.js';
import type { Finding } from '../../conformance/finding.js';
import { type Fault, startBrokenServer, type Variant } from '../support/broken-server.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { killAll, type ServiceProcess, spawnService } from '../support/process.js';

interface Report {
  verdict: string;
  findings: Finding[];
}

/** Runs the kit as a process of its own, as its users do. */
async function check(url: string, ...options: string[]): Promise<Report & { exitCode: number }> {
  const args = [resolve('dist/conformance/main.js'), '--url', url, '--json', ...options];
  const { stdout, exitCode } = await run(args);
  return { ...(JSON.parse(stdout) as Report), exitCode };
}

async function run(args: string[]): Promise<{ stdout: string; stderr: string; exitCode: number }> {
  return promisify(execFile)(process.execPath, args).then(
    (output) => ({ ...output, exitCode: 0 }),
    (error: unknown) => {
      const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number };
      return { stdout, stderr, exitCode: code };
    },
  );
}

const failed = ({ findings }: Report) => findings.filter(({ verdict }) => verdict === 'failed').map(({ id }) => id);
const unknown = ({ findings }: Report) => findings.filter(({ verdict }) => verdict === 'unknown').map(({ id }) => id);

beforeAll(() => promisify(execFile)('npx', ['swc', 'conformance', 'harness/options.ts', '-d', 'dist', '--quiet']));

describe('the conformance kit on this service', () => {
  let database: TestDatabase;
  let service: ServiceProcess;
  beforeAll(async () => {
    database = await createDatabase();
    service = await spawnService(database.url, { API_KEYS: 'acct_a:sk_a,acct_b:sk_b' });
  });
  afterAll(async () => {
    await killAll();
    await database?.drop();
  });

  it('finds that this service passes every check, and leaves no check out', async () => {
    const keys = ['--header', 'Authorization: Bearer sk_a', '--other-header', 'Authorization: Bearer sk_b'];
    const report = await check(service.url, ...keys);
    expect(report).toMatchObject({ verdict: 'passed', exitCode: 0 });
    expect([failed(report), unknown(report)]).toEqual([[], []]);
    expect(report.findings.map(({ id }) => id)).toEqual(CHECKS.map(({ id }) => id));
  });

  it('finds that this service meets the requirements of the IETF draft', async () => {
    const report = await check(service.url, '--profile', 'draft', '--header', 'Authorization: Bearer sk_a');
    expect([report.verdict, failed(report)]).toEqual(['passed', []]);
  });

  it('finds that this service differs from Stripe, which requires no key and has another status for a used key with another body', async () => {
    const report = await check(service.url, '--profile', 'stripe', '--header', 'Authorization: Bearer sk_a');
    expect([report.exitCode, failed(report)]).toEqual([1, ['mismatch', 'missing-key']]);
  });

  it('finds that this service also honours keys of requests with a natural key, which differs in each body', async () => {
    const auth = { Authorization: 'Bearer sk_a', 'Content-Type': 'application/json' };
    await fetch(`${service.url}/inventory/beans`, { method: 'PUT', headers: auth, body: '{"stock": 1000}' });
    const order = (item_id: string, quantity: number) =>
      `{"order_id": "order_{{unique}}", "items": [{"item_id": "${item_id}", "quantity": ${quantity}, "unit_amount": 100}]}`;
    const bodies = [order('beans', 1), order('beans', 2), order('beans', 0), order('gold', 1)];
    const names = ['--body', '--other-body', '--invalid-body', '--refused-body'];
    const report = await check(
      service.url,
      ...names.flatMap((name, i) => [name, bodies[i] ?? '']),
      ...['--path', '/orders', '--id', 'order_id', '--effects', '/orders?limit=100', '--missing-key', 'accepted'],
      ...['--header', 'Authorization: Bearer sk_a'],
    );
    expect([failed(report), unknown(report)]).toEqual([[], ['scope']]);
  });

  it('finds that this service passes every check for refunds, whose effects it counts by the refunded amount of the charge', async () => {
    const auth = { Authorization: 'Bearer sk_a', 'Content-Type': 'application/json', 'Idempotency-Key': 'refunded' };
    const body = '{"amount": 99999999, "currency": "eur"}';
    const charged = await fetch(`${service.url}/charges`, { method: 'POST', headers: auth, body });
    const { id } = (await charged.json()) as { id: string };
    const bodies = ['{"amount": 1, "reason": "broken"}', '{"amount": 1}', '{"amount": 0}', '{"amount": 99999999}'];
    const names = ['--body', '--other-body', '--invalid-body', '--refused-body'];
    const report = await check(
      service.url,
      ...names.flatMap((name, i) => [name, bodies[i] ?? '']),
      // Each refund is of 1, so the refunded amount is the number of refunds.
      ...['--path', `/charges/${id}/refunds`, '--effects', `/charges/${id}`, '--effects-list', 'amount_refunded'],
      ...['--header', 'Authorization: Bearer sk_a'],
    );
    expect([failed(report), unknown(report)]).toEqual([[], ['scope']]);
    expect(report.findings.map(({ id }) => id)).toEqual(CHECKS.map(({ id }) => id));
  });

  it('uses the statuses of the options instead of the statuses of the profile', async () => {
    const statuses = ['--mismatch', '422', '--missing-key', '400', '--in-progress', ''];
    const report = await check(
      service.url,
      '--profile',
      'stripe',
      ...statuses,
      '--header',
      'Authorization: Bearer sk_a',
    );
    expect([report.exitCode, failed(report)]).toEqual([0, []]);
  });
});

describe('the conformance kit on another server', () => {
  let server: Awaited<ReturnType<typeof startBrokenServer>> | undefined;
  afterEach(() => server?.stop());

  const options = ['--header', 'Authorization: a', '--other-header', 'Authorization: b'];
  const refused = ['--refused-body', '{"amount": 1, "source": "declined"}'];
  const body = ['--body', '{"amount": 1, "to": {"bank": "b", "account": "a"}}'];
  const inspect = async (fault: Fault) => {
    server = await startBrokenServer(fault);
    // Only this server never answers. Any other server answers eventually, so a busy machine needs a long limit.
    const timeoutMs = fault === 'never answers a duplicate at once' ? '2000' : '60000';
    return check(server.url, ...options, ...refused, ...body, '--timeout-ms', timeoutMs);
  };

  it('fails no check of a server without a fault', async () => {
    const report = await inspect('none');
    expect([report.exitCode, failed(report), unknown(report)]).toEqual([0, [], []]);
  });

  it.each<[Variant, string[]]>([
    ['accepts quoted keys only', ['--profile', 'draft']],
    ['requires its own media type', ['--header', 'Content-Type: application/vnd.api+json']],
    ['lists a number instead of resources', ['--effects-list', 'made.total']],
    ['wraps every answer in data', ['--id', 'data.id', '--effects-list', '']],
    ['wraps every answer in data', ['--id', 'data.id', '--effects', '']],
    ['replies without ids', ['--effects', '']],
    ['accepts UUIDs only', ['--profile', 'stripe', '--missing-key', '400', '--mismatch', '422']],
  ])('fails no check of a correct server that %s', async (variant, more) => {
    server = await startBrokenServer(variant);
    const report = await check(server.url, ...options, ...refused, ...more);
    expect([report.exitCode, failed(report)]).toEqual([0, []]);
  });

  it.each<[Fault, string]>([
    ['ignores the key', 'duplicate'],
    ['checks, then acts', 'storm'],
    ['computes a new answer to a duplicate', 'duplicate'],
    ['stores the key after the effect', 'hang-up'],
    ['ignores the body', 'mismatch'],
    ['compares bodies byte by byte', 'body-order'],
    ['compares nested values byte by byte', 'body-order'],
    ['shares keys between accounts', 'scope'],
    ['answers 409 to every duplicate', 'duplicate'],
    ['uses up the key of an invalid body', 'invalid-body'],
    ['forgets refusals', 'refusal'],
    ['replays a refusal with 200', 'refusal'],
    ['accepts a request without a key', 'missing-key'],
    ['accepts malformed keys', 'malformed-key'],
    ['marks every reply as a replay', 'replay-header'],
    ['runs again after a hang-up', 'hang-up'],
    ['makes one effect for all keys', 'another-key'],
    ['treats a quoted key as another key', 'quoted-key'],
    ['never answers a duplicate at once', 'storm'],
    ['hangs up on a duplicate', 'duplicate'],
  ])('finds that a server that %s fails the check %s', async (fault, id) => {
    const report = await inspect(fault);
    expect([report.verdict, report.exitCode]).toEqual(['failed', 1]);
    expect(failed(report)).toContain(id);
    for (const { verdict, detail } of report.findings) if (verdict === 'failed') expect(detail).toMatch(/expected/);
  });

  it('ends with exit code 2 if a server does not list its effects under the name in --effects-list', async () => {
    server = await startBrokenServer('none');
    const { stderr, exitCode } = await run([
      resolve('dist/conformance/main.js'),
      '--url',
      server.url,
      '--effects-list',
      'charges',
    ]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('a list named charges')]);
  });

  it('reports unknown, and not failed, for the checks that need an id if a server replies without ids', async () => {
    server = await startBrokenServer('replies without ids');
    const report = await check(server.url, ...options, '--effects', '');
    expect(unknown(report)).toEqual(expect.arrayContaining(['duplicate', 'storm', 'mismatch', 'scope', 'hang-up']));
    expect(report.findings[0]?.detail).toMatch(/no id with the id of the created resource: see --id/);
  });

  it('ends with exit code 2 if the listed effects do not have the member that --id names', async () => {
    server = await startBrokenServer('none');
    const { stdout, stderr, exitCode } = await run([
      resolve('dist/conformance/main.js'),
      '--url',
      server.url,
      '--id',
      'no',
    ]);
    expect([exitCode, stdout]).toEqual([2, expect.not.stringContaining('FAILED')]);
    expect(stderr).toContain('whose elements have no');
  });

  it('ends with exit code 2 if the server cannot be reached', async () => {
    const { stderr, exitCode } = await run([resolve('dist/conformance/main.js'), '--url', 'http://127.0.0.1:9']);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('does not answer')]);
  });
});

describe('the command line of the conformance kit', () => {
  it.each([
    [[], /--url : expected http/],
    [['--url', 'localhost:3000'], /expected http/],
    [['--url', 'http://localhost/api'], /--url http:\/\/localhost\/api: expected .* without a path/],
    [['--url', 'http://localhost', '--path', 'http://elsewhere/charges'], /--path http:.*: expected a path/],
    [['--url', 'http://localhost', '--effects', 'charges'], /--effects charges: expected a path/],
    [['--url', 'http://localhost', '--method', 'P OST'], /--method P OST: expected a method/],
    [['--url', 'http://localhost', '--key-header', ''], /--key-header : expected the name of a header/],
    [['--url', 'http://localhost', '--header', 'X-Name: \u20ac'], /--header: expected 'Name: value', in ASCII/],
    [['--url', 'http://localhost', '--timeout-ms', '1e12'], /--timeout-ms 1e12: expected an integer/],
    [['--url', 'http://localhost', '--profile', 'mine'], /expected one of ours, draft, stripe/],
    [['--url', 'http://localhost', '--body', '{'], /--body \{: expected JSON/],
    [['--url', 'http://localhost', '--header', 'secret'], /--header: expected 'Name: value'/],
    [['--url', 'http://localhost', '--success', 'fine'], /expected statuses/],
    [['--url', 'http://localhost', '--mismatch', '4x9'], /--mismatch 4x9: expected statuses/],
    [['--url', 'http://localhost', '--colour', 'red'], /--colour/],
  ])('refuses a command line of the conformance kit, and says what was expected: %s', async (args, message) => {
    const { stderr, exitCode } = await run([resolve('dist/conformance/main.js'), ...args]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).toContain('Usage: npm run conformance');
  });

  it('prints the options of the conformance kit for --help', async () => {
    const { stdout, exitCode } = await run([resolve('dist/conformance/main.js'), '--help']);
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('--effects PATH')]);
  });

  it('prints a line for each check, and the number of checks by verdict', async () => {
    const server = await startBrokenServer('ignores the body');
    const { stdout, exitCode } = await run([resolve('dist/conformance/main.js'), '--url', server.url]);
    await server.stop();
    expect(exitCode).toBe(1);
    for (const { id } of CHECKS) expect(stdout).toContain(id);
    expect(stdout).toMatch(/FAILED {3}mismatch/);
    expect(stdout).toMatch(/\d+ passed, \d+ failed, \d+ unknown/);
  });
});
