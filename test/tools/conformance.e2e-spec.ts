// Goal: the kit passes correct services, and fails each broken server for the right reason.
// Method: run the built kit against this service, against correct servers with other rules, and against servers with one fault each.
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { CHECKS } from '../../conformance/checks/checks.js';
import { startBrokenServer, World } from '../support/broken-server.js';
import type { Fault, Variant } from '../support/broken-server.faults.js';
import { failed, findingOf, Kit, skipped, undecided } from '../support/conformance.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { killAll, type ServiceProcess, spawnService } from '../support/process.js';

let kit: Kit;
beforeAll(async () => {
  kit = await Kit.build();
});
afterAll(() => kit?.remove());

/** Checks that need options which only some tests give. */
const WITH_OPTIONS = ['replicas', 'expiry', 'crash'];

describe('the conformance kit on this service', () => {
  let database: TestDatabase;
  let service: ServiceProcess;
  const account = ['--header', 'Authorization: Bearer sk_a'];
  beforeAll(async () => {
    database = await createDatabase();
    service = await spawnService(database.url, { API_KEYS: 'acct_a:sk_a,acct_b:sk_b' });
  });
  afterAll(async () => {
    await killAll();
    await database?.drop();
  });

  it('finds that this service passes every check, and leaves no check out', async () => {
    const second = await spawnService(database.url, { API_KEYS: 'acct_a:sk_a,acct_b:sk_b' });
    const more = ['--other-header', 'Authorization: Bearer sk_b', '--second-url', second.url];
    const report = await kit.check(service.url, ...account, ...more);
    expect([failed(report), undecided(report), skipped(report)]).toEqual([[], [], ['expiry', 'crash']]);
    expect(report).toMatchObject({ verdict: 'passed', exitCode: 0 });
    expect(report.findings.map(({ id }) => id)).toEqual(CHECKS.map(({ id }) => id));
  });

  it('finds that this service meets the requirements of the IETF draft', async () => {
    const report = await kit.check(service.url, '--profile', 'draft', ...account);
    expect([report.exitCode, failed(report)]).toEqual([0, []]);
  });

  it('finds that this service differs from Stripe, which requires no key and has another status for a used key with another body', async () => {
    const report = await kit.check(service.url, '--profile', 'stripe', ...account);
    expect([report.exitCode, failed(report)]).toEqual([1, ['mismatch', 'missing-key']]);
    for (const id of failed(report)) expect(findingOf(report, id).harm).toBe('broken rule');
  });

  it('uses the statuses of the options instead of the statuses of the profile', async () => {
    const statuses = ['--mismatch', '422', '--missing-key', '400', '--in-progress', ''];
    const report = await kit.check(service.url, '--profile', 'stripe', ...statuses, ...account);
    expect([report.exitCode, failed(report)]).toEqual([0, []]);
  });

  it('finds that this service also honours keys of requests with a natural key, which differs in each body', async () => {
    const auth = { Authorization: 'Bearer sk_a', 'Content-Type': 'application/json' };
    await fetch(`${service.url}/inventory/beans`, { method: 'PUT', headers: auth, body: '{"stock": 1000}' });
    const order = (item_id: string, quantity: number) =>
      `{"order_id": "order_{{unique}}", "items": [{"item_id": "${item_id}", "quantity": ${quantity}, "unit_amount": 100}]}`;
    const bodies = [order('beans', 1), order('beans', 2), order('beans', 0), order('gold', 1)];
    const names = ['--body', '--other-body', '--invalid-body', '--refused-body'];
    const report = await kit.check(
      service.url,
      ...names.flatMap((name, i) => [name, bodies[i] ?? '']),
      ...['--path', '/orders', '--id', 'order_id', '--effects', '/orders?limit=100', '--missing-key', 'accepted'],
      ...account,
    );
    expect([failed(report), undecided(report), skipped(report)]).toEqual([
      [],
      [],
      ['scope', ...WITH_OPTIONS].sort(byOrder),
    ]);
  });

  it('finds that this service passes every check for refunds, whose effects it counts by the refunded amount of the charge', async () => {
    const auth = { Authorization: 'Bearer sk_a', 'Content-Type': 'application/json', 'Idempotency-Key': 'refunded' };
    const body = '{"amount": 99999999, "currency": "eur"}';
    const charged = await fetch(`${service.url}/charges`, { method: 'POST', headers: auth, body });
    const { id } = (await charged.json()) as { id: string };
    const bodies = ['{"amount": 1, "reason": "broken"}', '{"amount": 1}', '{"amount": 0}', '{"amount": 99999999}'];
    const names = ['--body', '--other-body', '--invalid-body', '--refused-body'];
    const report = await kit.check(
      service.url,
      ...names.flatMap((name, i) => [name, bodies[i] ?? '']),
      // Each refund is of 1, so the refunded amount is the number of refunds.
      ...['--path', `/charges/${id}/refunds`, '--effects', `/charges/${id}`, '--effects-list', 'amount_refunded'],
      ...account,
    );
    expect([failed(report), undecided(report)]).toEqual([[], []]);
  });
});

/** Sorts names of checks as the report does. */
const byOrder = (a: string, b: string) =>
  CHECKS.findIndex(({ id }) => id === a) - CHECKS.findIndex(({ id }) => id === b);

describe('the conformance kit on another server', () => {
  const servers: Awaited<ReturnType<typeof startBrokenServer>>[] = [];
  afterEach(() => Promise.all(servers.splice(0).map((server) => server.stop())));
  const start = async (fault: Fault | Variant, world?: World) => {
    const server = await startBrokenServer(fault, world);
    servers.push(server);
    return server.url;
  };

  const accounts = ['--header', 'Authorization: a', '--other-header', 'Authorization: b'];
  const refused = ['--refused-body', '{"amount": 1, "source": "declined"}'];
  const body = ['--body', '{"amount": 1, "to": {"bank": "b", "account": "a"}}'];
  const slow = ['--slow-body', '{"amount": 1, "after_ms": 200}'];

  const inspect = async (fault: Fault, ...more: string[]) => {
    // Only this server never answers. Any other server answers eventually, so a busy machine needs a long limit.
    const timeoutMs = fault === 'never answers a duplicate at once' ? '2000' : '60000';
    return kit.check(await start(fault), ...accounts, ...refused, ...body, ...slow, '--timeout-ms', timeoutMs, ...more);
  };

  it('fails no check of a server without a fault', async () => {
    const report = await inspect('none');
    expect([report.exitCode, failed(report), undecided(report), skipped(report)]).toEqual([0, [], [], WITH_OPTIONS]);
  });

  it.each<[Variant, string[]]>([
    ['accepts quoted keys only', ['--profile', 'draft']],
    ['accepts quoted keys only', ['--key-form', 'quoted', '--skip', 'quoted-key,hang-up']],
    ['requires its own media type', ['--header', 'Content-Type: application/vnd.api+json']],
    ['lists a number instead of resources', ['--effects-list', 'made.total']],
    ['wraps every answer in data', ['--id', 'data.id', '--effects-list', '']],
    ['accepts UUIDs only', ['--profile', 'stripe', '--missing-key', '400', '--mismatch', '422']],
    ['accepts keys of 256 characters', ['--max-key-length', '256']],
    ['accepts keys of 256 characters', ['--max-key-length', '']],
    ['answers 422 to a malformed key', ['--malformed-key', '422']],
    ['answers 201', []],
    ['answers 201', ['--success', '201']],
    ['marks replays with another header', ['--replay-header', 'X-Idempotency-Status: hit']],
    ['marks replays with another header', ['--replay-header', '']],
    ['says false on a first reply', []],
    ['makes two resources for each request', ['--effects-per-request', '2']],
  ])('fails no check of a correct server that %s, with %j', async (variant, more) => {
    const report = await kit.check(await start(variant), ...accounts, ...refused, '--skip', 'hang-up', ...more);
    expect([report.exitCode, failed(report), undecided(report)]).toEqual([0, [], []]);
  });

  it('checks an operation that takes forms, without the checks that need JSON', async () => {
    const bodies = ['--body', 'amount=1&to=a', '--other-body', 'amount=2&to=a', '--invalid-body', 'amount=0'];
    const type = [
      '--header',
      'Content-Type: application/x-www-form-urlencoded',
      '--slow-body',
      'amount=1&after_ms=200',
    ];
    const report = await kit.check(await start('takes forms'), ...accounts, ...bodies, '--refused-body', '', ...type);
    expect([report.exitCode, failed(report)]).toEqual([0, []]);
    expect(skipped(report)).toEqual(['body-order', 'refusal', ...WITH_OPTIONS].sort(byOrder));
  });

  it('counts effects with the command of --effects-command', async () => {
    const url = await start('lists a number instead of resources');
    const count = `${process.execPath} -e "fetch('${url}').then((a) => a.json()).then((a) => console.log(a.made.total))"`;
    const options = ['--effects', '', '--effects-command', count, '--only', 'duplicate'];
    const report = await kit.check(url, ...options);
    expect([report.exitCode, report.findings.map(({ verdict }) => verdict)]).toEqual([0, ['passed']]);
  });

  it.each<[Fault, string, string]>([
    ['ignores the key', 'duplicate', 'double effect'],
    ['checks, then acts', 'storm', 'double effect'],
    ['races in one storm of four', 'storm', 'double effect'],
    ['computes a new answer to a duplicate', 'duplicate', 'wrong reply'],
    ['compares all headers', 'other-headers', 'wrong reply'],
    ['echoes the request to a duplicate', 'hang-up', 'wrong reply'],
    ['stores the key after the effect', 'hang-up', 'double effect'],
    ['ignores the body', 'mismatch', 'wrong reply'],
    ['treats another body as another key', 'mismatch', 'double effect'],
    ['ignores the path', 'other-path', 'wrong reply'],
    ['compares bodies byte by byte', 'body-order', 'wrong reply'],
    ['compares nested values byte by byte', 'body-order', 'wrong reply'],
    ['shares keys between accounts', 'scope', 'wrong reply'],
    ['answers 409 to every duplicate', 'duplicate', 'wrong reply'],
    ['uses up the key of an invalid body', 'invalid-body', 'broken rule'],
    ['accepts a corrected body without an effect', 'invalid-body', 'lost effect'],
    ['forgets refusals', 'refusal', 'wrong reply'],
    ['replays a refusal with 200', 'refusal', 'wrong reply'],
    ['accepts a request without a key', 'missing-key', 'broken rule'],
    ['accepts malformed keys', 'malformed-key', 'broken rule'],
    ['marks every reply as a replay', 'replay-header', 'broken rule'],
    ['runs again after a hang-up', 'hang-up', 'double effect'],
    ['cancels a request whose client hangs up', 'hang-up', 'double effect'],
    ['keeps a key whose body never arrived', 'hang-up', 'stuck key'],
    ['makes one effect for all keys', 'another-key', 'lost effect'],
    ['treats a quoted key as another key', 'quoted-key', 'double effect'],
    ['never answers a duplicate at once', 'storm', 'stuck key'],
    ['hangs up on a duplicate', 'duplicate', 'stuck key'],
  ])('finds that a server that %s fails the check %s, with a %s', async (fault, id, harm) => {
    const report = await inspect(fault, '--only', id);
    expect([report.verdict, report.exitCode]).toEqual(['failed', 1]);
    expect(findingOf(report, id)).toMatchObject({ verdict: 'failed', harm });
    for (const { verdict, detail, request } of report.findings) {
      if (verdict !== 'failed') continue;
      expect(detail).toMatch(/expected/);
      expect(request).toMatch(/^curl /);
    }
  });

  it('finds, even if it cannot count effects, that a corrected body got a reply without an id', async () => {
    const report = await inspect(
      'accepts a corrected body without an effect',
      '--only',
      'invalid-body',
      '--effects',
      '',
    );
    expect(report.findings[0]).toMatchObject({ verdict: 'failed', harm: 'wrong reply' });
  });

  it('counts the effects of a race in the failure, because their number is what matters', async () => {
    const report = await inspect('checks, then acts', '--only', 'storm');
    expect(findingOf(report, 'storm').detail).toMatch(
      /expected 1 effect of 24 duplicates at once, got \d+ as --effects counts them/,
    );
  });

  it('shows the body of a refusal in the failure', async () => {
    const report = await inspect('answers 409 to every duplicate', '--only', 'duplicate');
    expect(findingOf(report, 'duplicate').detail).toMatch(/got 409: {"title":"in use"}/);
  });

  it('finds that two replicas that keep their keys in memory make a double effect', async () => {
    const world = new World();
    const [first, second] = [
      await start('keeps its keys in its own memory', world),
      await start('keeps its keys in its own memory', world),
    ];
    const report = await kit.check(first, '--second-url', second, '--only', 'storm,replicas');
    expect([failed(report), findingOf(report, 'replicas').harm]).toEqual([['replicas'], 'double effect']);
  });

  it('passes two replicas that share their keys', async () => {
    const world = new World();
    const report = await kit.check(
      await start('none', world),
      '--second-url',
      await start('none', world),
      '--only',
      'replicas',
    );
    expect([report.exitCode, findingOf(report, 'replicas').verdict]).toEqual([0, 'passed']);
  });

  /** How long the servers keep a key, in seconds. */
  const LIFETIME = 1.5;
  const expire = async (fault: Fault, ...more: string[]) => {
    const url = await start(fault, new World(LIFETIME * 1000));
    return kit.check(url, '--ttl', String(LIFETIME), '--only', 'expiry', ...more);
  };

  it('finds one new effect of each expired key on a server without a fault', async () => {
    const report = await expire('none');
    expect([report.exitCode, report.findings[0]?.verdict]).toEqual([0, 'passed']);
  });

  it.each<[Fault, string]>([
    ['claims an expired key without a lock', 'double effect'],
    ['stays stuck after the expiry', 'broken rule'],
    ['fails at the expiry', 'broken rule'],
  ])('finds that a server that %s fails the check expiry, with a %s', async (fault, harm) => {
    expect((await expire(fault)).findings[0]).toMatchObject({ verdict: 'failed', harm });
  });

  it('finds a stuck key after the expiry if 409 is the status of a request in flight', async () => {
    const report = await expire('stays stuck after the expiry', '--in-progress', '409');
    expect(report.findings[0]).toMatchObject({ verdict: 'failed', harm: 'stuck key' });
  });

  it('does not decide about the expiry if the keys live longer than --ttl says', async () => {
    const report = await kit.check(await start('none'), '--ttl', '0.5', '--only', 'expiry');
    expect([report.exitCode, report.findings[0]?.detail]).toEqual([3, expect.stringContaining('had not expired')]);
  });

  it('does not decide about a client that hangs up if the service replies at once', async () => {
    const report = await kit.check(await start('none'), '--only', 'hang-up', '--effects', '');
    expect([report.verdict, report.exitCode]).toEqual(['undecided', 3]);
    expect(findingOf(report, 'hang-up').detail).toMatch(/without --effects/);
  });

  it('does not decide, and does not fail, the checks that need an id if a server replies without ids', async () => {
    const report = await kit.check(await start('replies without ids'), ...accounts, ...refused, '--effects', '');
    expect([report.exitCode, failed(report)]).toEqual([3, []]);
    expect(undecided(report)).toEqual(expect.arrayContaining(['duplicate', 'storm', 'mismatch', 'scope', 'hang-up']));
    expect(report.findings[0]?.detail).toMatch(/no reply has id with the id of the created resource: see --id/);
  });

  it('counts ids instead of effects without --effects', async () => {
    const options = ['--id', 'data.id', '--effects', '', '--skip', 'hang-up'];
    const report = await kit.check(await start('wraps every answer in data'), ...accounts, ...refused, ...options);
    expect([report.exitCode, failed(report), undecided(report)]).toEqual([0, [], []]);
  });
});
