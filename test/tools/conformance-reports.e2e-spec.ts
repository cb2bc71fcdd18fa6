// Goal: people and CI read the same verdicts, and every failure can be repeated by hand.
// Method: read each format with a parser of its own, run the commands of failures with sh, and look at the exit codes.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { SaxesParser } from 'saxes';
import { Parser as TapParser, type Result } from 'tap-parser';
import { CHECKS } from '../../conformance/checks/checks.js';
import type { Finding } from '../../conformance/finding.js';
import { curlOf } from '../../conformance/http/curl.js';
import type { SentRequest } from '../../conformance/http/exchange.js';
import { FORMATS } from '../../conformance/report/formats.js';
import type { Run } from '../../conformance/report/report.js';
import { startBrokenServer } from '../support/broken-server.js';
import { Kit, run } from '../support/conformance.js';

let kit: Kit;
beforeAll(async () => {
  kit = await Kit.build();
});
afterAll(() => kit?.remove());

let server: Awaited<ReturnType<typeof startBrokenServer>> | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

const REQUEST: SentRequest = {
  method: 'POST',
  url: 'http://localhost/charges',
  headers: ['Idempotency-Key', 'k'],
  body: '{}',
  account: 'first',
};
/** Characters that XML cannot contain. */
const NOT_IN_XML = ['\u0000', '\u001b', '\ud800'];
const hostileWith = (bad: string[]) =>
  `<a href="x">&amp;'</a> ]]> # TODO \\ \t\n... \n---\nnot ok 9${bad.join('')} é 🙂`;
/** Characters that a format has to escape. */
const HOSTILE = hostileWith(NOT_IN_XML);
/** The same text with replacement characters. */
const LEGIBLE = hostileWith(NOT_IN_XML.map(() => '\ufffd'));
const RUN: Run = {
  url: 'http://localhost',
  operation: `POST /charges?a=1&b="2"`,
  profileName: 'ours',
  profileTitle: 'ours',
  keyHeader: 'Idempotency-Key',
  checks: 4,
};
const FINDINGS: Finding[] = [
  { id: 'duplicate', title: HOSTILE, verdict: 'passed', detail: HOSTILE, durationMs: 1 },
  {
    ...{ id: 'storm', title: HOSTILE, verdict: 'failed', harm: 'double effect', detail: HOSTILE, durationMs: 1_234 },
    evidence: { request: REQUEST, answer: { request: REQUEST, status: 500, headers: {}, text: HOSTILE } },
  },
  { id: 'hang-up', title: HOSTILE, verdict: 'undecided', detail: HOSTILE, durationMs: 0 },
  { id: 'crash', title: HOSTILE, verdict: 'skipped', detail: HOSTILE, durationMs: 0 },
];
const printed = (name: keyof typeof FORMATS) => {
  const format = FORMATS[name];
  return [
    format.begin(RUN),
    ...FINDINGS.map((finding, i) => format.finding(RUN, finding, i + 1)),
    format.end(RUN, FINDINGS),
  ].join('');
};

interface Element {
  name: string;
  attributes: Record<string, string>;
  text: string;
}

/** The elements of a document, in the order of their ends. The parser refuses everything that XML 1.0 does not allow. */
function elementsOf(xml: string): Element[] {
  const parser = new SaxesParser();
  const open: Element[] = [];
  const elements: Element[] = [];
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('opentag', ({ name, attributes }) => open.push({ name, attributes: { ...attributes }, text: '' }));
  parser.on('text', (part) => open.at(-1) && (open[open.length - 1]!.text += part));
  parser.on('closetag', () => elements.push(open.pop()!));
  parser.write(xml).close();
  return elements;
}

function tapOf(output: string): { points: Result[]; ok: boolean; problems: unknown[]; bailout: unknown } {
  const points: Result[] = [];
  const problems: unknown[] = [];
  const parser = new TapParser({ strict: true }, () => undefined);
  parser.on('assert', (point: Result) => points.push(point));
  // Strict parsing reports each line that is not TAP as an "extra" line.
  parser.on('extra', (line: string) => problems.push(line));
  parser.end(output);
  return { points, ok: parser.ok, problems, bailout: parser.bailedOut };
}

describe('the formats of the conformance kit', () => {
  it('prints JUnit XML that a strict parser reads, with a failure, an error and a skipped test', () => {
    const elements = elementsOf(printed('junit'));
    const suite = elements.find(({ name }) => name === 'testsuite')?.attributes;
    expect(suite).toMatchObject({ tests: '4', failures: '1', errors: '1', skipped: '1', time: '1.235' });
    const cases = elements.filter(({ name }) => name === 'testcase').map(({ attributes }) => attributes['name']);
    expect(cases).toEqual(FINDINGS.map(({ id }) => `${id}: ${LEGIBLE}`));
    const failure = elements.find(({ name }) => name === 'failure');
    expect(failure?.attributes).toEqual({ type: 'double effect', message: LEGIBLE });
    expect(failure?.text).toBe([LEGIBLE, curlOf(REQUEST, 'Idempotency-Key'), 'HTTP 500', LEGIBLE].join('\n'));
    expect(elements.find(({ name }) => name === 'error')?.attributes['message']).toBe(LEGIBLE);
    expect(elements.find(({ name }) => name === 'skipped')?.attributes['message']).toBe(LEGIBLE);
  });

  it('prints TAP that a strict parser reads, with the request and the response of a failure', () => {
    const { points, problems, ok } = tapOf(printed('tap'));
    expect([ok, problems]).toEqual([false, []]);
    expect(points.map((point) => [point.id, point.ok, Boolean(point.skip)])).toEqual([
      [1, true, false],
      [2, false, false],
      [3, false, false],
      [4, true, true],
    ]);
    expect(points[1]?.diag).toMatchObject({
      verdict: 'failed',
      harm: 'double effect',
      request: curlOf(REQUEST, 'Idempotency-Key'),
    });
    expect(points[2]?.diag).toMatchObject({ verdict: 'undecided' });
  });

  it('prints JSON with the request and the response of a failure', () => {
    const report = JSON.parse(printed('json')) as { verdict: string; findings: object[] };
    expect(report.verdict).toBe('failed');
    expect(report.findings).toHaveLength(4);
    expect(report.findings[1]).toMatchObject({
      request: curlOf(REQUEST, 'Idempotency-Key'),
      response: { status: 500 },
    });
  });

  it('prints text with the harm of each failure, and the number of checks by verdict', () => {
    const output = printed('text');
    expect(output).toContain('double effect: ');
    expect(output).toContain(curlOf(REQUEST, 'Idempotency-Key'));
    expect(output).toMatch(/\n1 passed, 1 failed \(1 double effect\), 1 undecided, 1 skipped\n$/);
  });
});

describe('the curl of a failure', () => {
  /** Runs a command with sh, and returns the request that arrives. */
  async function repeat(request: Partial<SentRequest>, env: Record<string, string> = {}) {
    const arrived: { method?: string; url?: string; rawHeaders: string[]; body: string }[] = [];
    const echo = createServer((incoming, response) => {
      void text(incoming).then((body) => {
        const { method = '', url = '', rawHeaders } = incoming;
        arrived.push({ method, url, rawHeaders, body });
        response.end('{}');
      });
    });
    await new Promise<void>((done) => echo.listen(0, '127.0.0.1', done));
    const base = `http://127.0.0.1:${(echo.address() as AddressInfo).port}`;
    const command = curlOf({ ...REQUEST, ...request, url: base + (request.url ?? '/charges') }, 'Idempotency-Key');
    const { stdout, stderr, exitCode } = await run('sh', ['-c', command], env);
    await new Promise((done) => echo.close(done));
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/^HTTP\/1.1 200/)]);
    const [first] = arrived;
    if (!first) throw new Error(stderr);
    const headers = first.rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [[name, first.rawHeaders[i + 1]]] : []));
    return { command, ...first, headers };
  }

  it('sends the same method, path, headers and body again, with the characters that sh treats specially', async () => {
    const body = `{"it's": "$HOME \`id\` \\"x\\" \\\\ é", "n": "@file"}\n!`;
    const value = `it's "$HOME" \`id\` \\ ; & | #`;
    const headers = [
      'Content-Type',
      'application/json',
      'X-Note',
      value,
      'Idempotency-Key',
      'a',
      'Idempotency-Key',
      'b',
    ];
    const request = { method: 'PATCH', url: `/a'b/[x]?q={1,2}&r=$(id)`, headers, body };
    const arrived = await repeat(request);
    expect(arrived).toMatchObject({ method: 'PATCH', url: request.url, body });
    expect(arrived.headers).toEqual(
      expect.arrayContaining([
        ['X-Note', value],
        ['Idempotency-Key', 'a'],
        ['Idempotency-Key', 'b'],
      ]),
    );
  });

  it('sends a body that begins with @, an empty header and no body as they were', async () => {
    expect((await repeat({ body: '@/etc/hostname' })).body).toBe('@/etc/hostname');
    const { headers, body } = await repeat({ headers: ['Idempotency-Key', ''], body: '' });
    expect(headers).toContainEqual(['Idempotency-Key', '']);
    expect(body).toBe('');
  });

  it('takes secrets from variables of the shell, and does not print them', async () => {
    const headers = ['Authorization', 'Bearer sk_test_fake', 'X-Api-Key', 'key_fake', 'Idempotency-Key', 'k'];
    const { command, headers: sent } = await repeat(
      { headers, account: 'other' },
      { OTHER_AUTHORIZATION: 'Bearer "sk" $x', OTHER_X_API_KEY: 'fake' },
    );
    expect(command).not.toContain('fake');
    expect(sent).toContainEqual(['Authorization', 'Bearer "sk" $x']);
    expect(sent).toContainEqual(['X-Api-Key', 'fake']);
    expect(sent).toContainEqual(['Idempotency-Key', 'k']);
  });

  it('repeats a real failure: the refused request is refused again', async () => {
    server = await startBrokenServer('answers 409 to every duplicate');
    const options = ['--only', 'duplicate', '--header', 'Authorization: fake_a'];
    const { stdout } = await kit.run('--url', server.url, ...options);
    const command = stdout.split('\n').find((line) => line.trim().startsWith('curl')) ?? '';
    const again = await run('sh', ['-c', command], { AUTHORIZATION: 'fake_a' });
    expect(again.stdout).toMatch(/^HTTP\/1.1 409 [\s\S]*{"title":"in use"}/);
    expect(stdout).toContain(`HTTP 409, application/json`);
    expect(stdout).not.toContain('fake_a');
  });
});

describe('the exit code of the conformance kit', () => {
  const OPTIONS = ['--only', 'duplicate,scope'];

  it('is 0 if no check failed, and a skipped check does not change it', async () => {
    server = await startBrokenServer('none');
    const { stdout, exitCode } = await kit.run('--url', server.url, ...OPTIONS);
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/1 passed, 0 failed, 0 undecided, 1 skipped/)]);
  });

  it('is 1 if a check failed', async () => {
    server = await startBrokenServer('ignores the key');
    const { stdout, exitCode } = await kit.run('--url', server.url, ...OPTIONS);
    expect([exitCode, stdout]).toEqual([1, expect.stringMatching(/FAILED +duplicate/)]);
  });

  it('is 3 if a check could not be decided', async () => {
    server = await startBrokenServer('replies without ids');
    const { stdout, exitCode } = await kit.run('--url', server.url, '--effects', '', ...OPTIONS);
    expect([exitCode, stdout]).toEqual([3, expect.stringMatching(/UNDECIDED +duplicate/)]);
  });

  it.each([
    ['text', /^POST \/charges/],
    ['json', /"verdict": "not checked",\n {2}"reason": ".*does not answer/],
    ['junit', /<error type="not checked" message=".*does not answer/],
    ['tap', /\nBail out! .*does not answer/],
  ])('is 2 if the service cannot be reached, and the format %s says so', async (format, output) => {
    const { stdout, stderr, exitCode } = await kit.run('--url', 'http://127.0.0.1:9', '--format', format);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('does not answer')]);
    expect(stdout).toMatch(output);
    if (format === 'junit') expect(elementsOf(stdout).map(({ name }) => name)).toContain('error');
    if (format === 'tap') expect(tapOf(stdout).bailout).toBeTruthy();
  });

  it.each([
    [
      'the path does not exist',
      ['--path', '/nothing', '--body', '{}'],
      /Expected 2xx, got 404: see --path.*\ncurl -ig/,
    ],
    ['another success is expected', ['--success', '201'], /Expected 201, got 200/],
    ['a body is refused', ['--body', '{"amount": 0}'], /Expected 2xx, got 400/],
    ['the list of effects has another name', ['--effects-list', 'charges'], /a list named charges/],
    ['the effects have another id', ['--id', 'no'], /whose elements have no/],
    ['each request counts as two effects', ['--effects-per-request', '2'], /Expected one effect .*, counted 0.5/],
    ['the command prints no number', ['--effects', '', '--effects-command', 'echo x'], /to print a number, got x/],
  ])('is 2, and one message says why, if %s', async (_, options, message) => {
    server = await startBrokenServer('none');
    const { stdout, stderr, exitCode } = await kit.run('--url', server.url, ...options);
    expect([exitCode, stdout]).toEqual([2, expect.not.stringContaining('FAILED')]);
    expect(stderr).toMatch(message);
  });
});

describe('the command line of the conformance kit', () => {
  const URL_ = ['--url', 'http://localhost'];

  it.each([
    [[], /--url : expected http/],
    [['--url', 'localhost:3000'], /expected http/],
    [['--url', 'http://localhost/api'], /--url http:\/\/localhost\/api: expected .* without a path/],
    [[...URL_, '--second-url', 'b'], /--second-url b: expected http/],
    [[...URL_, '--path', 'http://elsewhere/charges'], /--path http:.*: expected a path/],
    [[...URL_, '--path', '/refunds'], /--body: expected a valid body, or '' for none, because --path is given/],
    [[...URL_, '--effects', 'charges'], /--effects charges: expected a path/],
    [[...URL_, '--effects', '/a', '--effects-command', 'b'], /either --effects or --effects-command/],
    [[...URL_, '--effects-per-request', '0'], /--effects-per-request 0: expected an integer/],
    [[...URL_, '--method', 'P OST'], /--method P OST: expected a method/],
    [[...URL_, '--key-header', ''], /--key-header : expected the name of a header/],
    [[...URL_, '--key-form', 'loud'], /--key-form loud: expected one of quoted, bare/],
    [[...URL_, '--max-key-length', '-1'], /--max-key-length -1: expected an integer|argument is ambiguous/],
    [[...URL_, '--header', 'X-Name: \u20ac'], /--header: expected 'Name: value', in ASCII/],
    [[...URL_, '--header', 'secret'], /--header: expected 'Name: value'/],
    [[...URL_, '--replay-header', 'hit'], /--replay-header: expected 'Name: value'/],
    [[...URL_, '--timeout-ms', '1e12'], /--timeout-ms 1e12: expected an integer/],
    [[...URL_, '--ttl', '0'], /--ttl 0: expected a number of seconds/],
    [[...URL_, '--lease', 'long'], /--lease long: expected a number of seconds/],
    [[...URL_, '--profile', 'mine'], /expected one of ours, draft, stripe/],
    [[...URL_, '--body', '{'], /--body \{: expected JSON/],
    [[...URL_, '--success', 'fine'], /expected statuses/],
    [[...URL_, '--mismatch', '4x9'], /--mismatch 4x9: expected statuses/],
    [[...URL_, '--format', 'xml'], /--format xml: expected one of text, json, junit, tap/],
    [[...URL_, '--only', 'storms'], /--only storms: expected names of checks: duplicate, /],
    [[...URL_, '--only', 'storm', '--skip', 'storm'], /expected at least one check to be left/],
    [[...URL_, '--restart-command', 'x'], /--restart-command: expected --kill-command too/],
    [[...URL_, '--kill-command', 'x', '--effects', ''], /--kill-command: expected --effects or --effects-command/],
    [[...URL_, '--colour', 'red'], /--colour/],
  ])('refuses a command line of the conformance kit, and says what was expected: %s', async (args, message) => {
    const { stderr, exitCode } = await kit.run(...args);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).toContain('Usage: idempotency-conformance');
  });

  it('prints the options of the conformance kit for --help', async () => {
    const { stdout, exitCode } = await kit.run('--help');
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('--effects PATH')]);
  });

  it('prints a line for each check of the conformance kit', async () => {
    server = await startBrokenServer('none');
    const { stdout } = await kit.run('--url', server.url, '--refused-body', '');
    const ids = stdout.split('\n').flatMap((line) => /^(?:passed|skipped) +(\S+) /.exec(line)?.[1] ?? []);
    expect(ids).toEqual(CHECKS.map(({ id }) => id));
  });
});
