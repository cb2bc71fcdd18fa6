import { beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { chart } from '../bench/chart.js';
import { summarize } from '../bench/growth/table-health.js';
import { checkHonesty } from '../bench/honesty.js';
import type { Measurement } from '../bench/measurement.js';
import { markdownTable, readable, terminalTable } from '../bench/report.js';
import { resultsOf } from '../bench/results.js';
import type { Series } from '../bench/rounds.js';
import { SCENARIOS } from '../bench/scenarios.js';
import { median, medianRatio, percentile } from '../bench/statistics.js';

const run = promisify(execFile);
/** A benchmark refuses to measure when nothing is answered in its time, as on a busy machine. Then it is run again. */
const runQuick = (program: string): Promise<{ stdout: string }> =>
  run(process.execPath, [`dist/bench/${program}.js`, '--quick']).catch((error: { stderr?: string }) => {
    if (error.stderr?.includes('nothing was answered')) return runQuick(program);
    throw error;
  });

/** Ends a run that hangs. It takes a minute, and on a busy machine several. */
const RUN_TIMEOUT_MS = 900_000;

const measured = (requestsPerSecond: number, p50Ms = 1): Measurement => ({
  sent: 10,
  answered: 10,
  refused: 0,
  broken: 0,
  mismatched: 0,
  requestsPerSecond,
  p50Ms,
  p99Ms: 2 * p50Ms,
  senderLoad: 0.5,
});

describe('the benchmark', () => {
  beforeAll(async () => {
    // Beside the build, which other tests use at the same time and is left as it is.
    await run('node_modules/.bin/swc', ['bench', '-d', 'dist', '--quiet']);
  });

  const documents = () => readdirSync('docs').map((name) => [name, statSync(`docs/${name}`).mtimeMs]);

  it.each([
    ['main', ['service', 'without idempotency', 'textbook', 'straight through pg (16)', 'no-op']],
    ['growth', ['fresh charges: ', 'sweep: ', 'dead rows ', 'p99 ms ', 'memory after ']],
  ])(
    'measures honestly and writes nothing when %s is told to be quick',
    async (program, rows) => {
      const before = documents();
      const { stdout } = await runQuick(program);
      for (const row of rows) expect(stdout).toMatch(new RegExp(`^${row.replace(/[()]/g, '\\$&')}.*\\d`, 'm'));
      expect(stdout).toMatch(/\(target [≥≤] [\d.]+: (not )?met\)/);
      expect(stdout).not.toMatch(/NaN|Infinity|undefined/);
      expect(documents()).toEqual(before);
    },
    RUN_TIMEOUT_MS,
  );

  it.each(['main', 'growth'])(
    '%s refuses an option it does not have, or a value that makes no sense',
    async (program) => {
      for (const option of ['--fast', '--rounds=0', '--seconds=soon', 'quick']) {
        const end = await run(process.execPath, [`dist/bench/${program}.js`, option]).catch((error: unknown) => error);
        expect(end).toMatchObject({ code: 2, stdout: '' });
        expect((end as { stderr: string }).stderr).toContain('Usage: npm run bench');
      }
    },
  );
});

describe('what is made of the measurements', () => {
  it('is the median, the nearest rank, and ratios within their round', () => {
    expect([median([3, 1, 2]), median([4, 1, 3, 2])]).toEqual([2, 2.5]);
    expect(() => median([])).toThrow(RangeError);
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect([percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([7], 0.99)]).toEqual([50, 99, 7]);
    // The second round was slow for both. The ratio of the medians would be 3.
    expect(medianRatio([30, 6, 20], [10, 2, 10])).toBe(3);
    expect(() => medianRatio([1], [1, 2])).toThrow(RangeError);
  });

  it('is a row for each contender, and a verdict for each target', () => {
    const [scenario] = SCENARIOS;
    const rounds = { service: [100, 90, 110], without: [50, 30, 40], textbook: [10, 10, 10] };
    const series = Object.entries(rounds).map(
      ([contender, rates]) =>
        ({ scenario, contender, rounds: rates.map((rate) => measured(rate)), busiestConnections: 0 }) as Series,
    );
    const [result] = resultsOf(series);
    expect(result?.rows[0]).toMatchObject({ contender: 'service', rate: 100, lowest: 90, highest: 110, p99Ms: 2 });
    expect(result?.verdicts).toMatchObject([
      { value: 2.75, target: '≥ 2.5', met: true },
      { value: 10, target: '≥ 6', met: true },
    ]);
    expect(terminalTable(resultsOf(series))).toContain('requests/s: service ÷ textbook: 10 (target ≥ 6: met)');
  });

  it('is readable', () => {
    expect([1234.5, 100.4, 12.34, 1.234, 7].map(readable)).toEqual(['1,235', '100', '12.3', '1.23', '7']);
    expect(markdownTable(['', 'a'], [['x', '1']])).toBe('|  | a |\n| --- | ---: |\n| x | 1 |');
  });

  it('tells how a sweep went from samples of the table', () => {
    const sample = (seconds: number, sweptKeys: number, deadRows: number) => ({
      ...{ seconds, sweptKeys, deadRows },
      ...{ tableMib: 1, indexesMib: 1, autovacuums: 0 },
    });
    const samples = [sample(0, 0, 1), sample(1, 0, 2), sample(2, 4000, 9), sample(3, 6000, 5), sample(4, 6000, 0)];
    expect(summarize(samples)).toMatchObject({
      seconds: 2,
      batchRows: 2000,
      before: { seconds: 1 },
      worst: { deadRows: 9 },
      after: { deadRows: 0 },
    });
  });

  it.each([
    [{ refused: 1 }, '1 answers were not 2xx'],
    [{ broken: 2 }, '2 connections broke or timed out'],
    [{ mismatched: 3 }, '3 answers to one key were different'],
    [{ answered: 0 }, 'nothing was answered'],
  ])('is refused when the work was not honest: %j', async (flaw, message) => {
    const check = checkHonesty({ effects: 'each', keyed: true }, { ...measured(1), ...flaw });
    await expect(check).rejects.toThrow(message);
  });
});

describe('the chart', () => {
  const svg = chart('Costs & "benefits" <here>', [
    { kind: 'bars', title: 'Speed', unit: 'requests/s', bars: [{ label: 'a & b', value: 5, lowest: 4, highest: 6 }] },
    {
      kind: 'lines',
      title: 'Size',
      xUnit: 's',
      yUnit: 'MiB',
      lines: [
        {
          label: 'heap',
          points: [
            [0, 0],
            [90, 7],
          ],
        },
      ],
    },
  ]);

  it('is well-formed, and all of it is in the picture', () => {
    const open: string[] = [];
    const rest = svg.replace(
      /<(\/?)(\w+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g,
      (_, end: string, name: string, __, empty) => {
        if (end) expect(open.pop()).toBe(name);
        else if (!empty) open.push(name);
        return '';
      },
    );
    expect(open).toEqual([]);
    expect(rest).not.toMatch(/[<>]|&(?!amp;|lt;|gt;|quot;)/);
    expect(svg).not.toMatch(/NaN|Infinity|undefined|script|href/);
  });

  it('has its numbers with their units', () => {
    expect(svg).toContain('>5 requests/s (4 to 6)<');
    expect(svg).toContain('>Size, MiB<');
    expect(svg).toContain('>100<');
  });
});
