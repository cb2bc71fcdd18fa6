import { beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { benchmarkFiles } from '../../bench/benchmark-document.js';
import { chart } from '../../bench/chart.js';
import { writeDocuments } from '../../bench/documents.js';
import { summarize } from '../../bench/growth/table-health.js';
import { checkHonesty } from '../../bench/honesty.js';
import type { Measurement } from '../../bench/measurement.js';
import { type Attack, ATTACKS } from '../../bench/neighbour/attacks.js';
import { checkAnswers } from '../../bench/neighbour/honesty.js';
import { honestEquivalent } from '../../bench/neighbour/loads.js';
import { neighbourResult } from '../../bench/neighbour/results.js';
import type { AttackSeries } from '../../bench/neighbour/rounds.js';
import { markdownTable, readable, resultsText } from '../../bench/report.js';
import { resultsOf } from '../../bench/results.js';
import type { Series } from '../../bench/rounds.js';
import { SCENARIOS } from '../../bench/scenarios.js';
import { median, medianRatio, percentile } from '../../bench/statistics.js';

const run = promisify(execFile);
/** A quick run takes a minute while nothing else runs. This only ends a run that hangs. */
const RUN_TIMEOUT_MS = 1_200_000;

const measured = (requestsPerSecond: number, p50Ms = 1): Measurement => ({
  sent: 10,
  answered: 10,
  refused: 0,
  broken: 0,
  mismatched: 0,
  statuses: { 200: 10 },
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
    [
      'main',
      [
        ...['service', 'without idempotency', 'textbook', 'straight through pg (16)', 'no-op'],
        ...ATTACKS.flatMap(({ name }) => [`p50 of account B, ${name}: `, `p99 of account B, ${name}: `]),
        ...['alone  ', 'honest load  ', 'the attack  ', "recovery of account B's charge: "],
      ],
    ],
    ['growth', ['fresh charges: ', 'sweep: ', 'dead rows ', 'p99 ms ', 'memory after ']],
  ])(
    'measures honestly and writes no document in a quick run of %s',
    async (program, rows) => {
      const before = documents();
      const { stdout } = await run(process.execPath, [`dist/bench/${program}.js`, '--quick']);
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
      for (const option of ['--fast', '--rounds=0', '--seconds=soon', '--only=half', 'quick']) {
        const end = await run(process.execPath, [`dist/bench/${program}.js`, option]).catch((error: unknown) => error);
        expect(end).toMatchObject({ code: 2, stdout: '' });
        expect((end as { stderr: string }).stderr).toContain('Usage: npm run bench');
      }
    },
    RUN_TIMEOUT_MS,
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
    expect(resultsText(resultsOf(series))).toContain('requests/s: service ÷ textbook: 10 (target ≥ 6: met)');
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

/** One round of every attack: account B answers in 10 ms beside honest load, and in `attackedMs` beside the attack. */
const attacked = (attackedMs: number): AttackSeries[] => {
  const neighbour = measured(100);
  return ATTACKS.map((attack) => ({
    attack,
    readings: {
      alone: [{ quiet: measured(500, 5), neighbour: undefined }],
      honest: [{ quiet: measured(400, 10), neighbour }],
      attack: [{ quiet: measured(300, attackedMs), neighbour }],
    },
  }));
};
const crash = { seconds: { alone: 30, honest: 32, attack: 40 }, charges: 120 };

describe('a noisy neighbour', () => {
  it('is beside as many honest requests as the attack: in the same time, and as many at a time', () => {
    const [open, pairs, connections] = ['query', 'pairs', 'charges'].map((id) => ATTACKS.find((one) => one.id === id));
    const sent = { ...measured(1), sent: 330 };
    // The neighbour has a head start of 0.3 s.
    const equivalent = (attack: Attack | undefined) => honestEquivalent(attack as Attack, sent, 2.7);
    expect(equivalent(open)).toMatchObject({ turnsPerSecond: 25 });
    expect(equivalent(open)).not.toHaveProperty('turnsAtATime');
    expect(equivalent(pairs)).toMatchObject({
      ...{ turnsAtATime: 16, turnsPerSecond: 55 },
      traffic: { requestsOfATurn: 2 },
    });
    expect(equivalent(connections)).toMatchObject({ turnsAtATime: 400, turnsPerSecond: 110 });
  });

  it('is within its target at three times the latency beside honest load, and not beyond', () => {
    const verdictsOf = (attackedMs: number) =>
      neighbourResult(attacked(attackedMs), crash).attacks.map(({ p50, p99 }) => [p50.met, p99.met]);
    expect(verdictsOf(30)).toEqual(ATTACKS.map(() => [true, true]));
    expect(verdictsOf(31)).toEqual(ATTACKS.map(() => [false, false]));
  });

  it.each([
    [{ refused: 2, statuses: { 200: 8, 503: 2 } }, '2 answers to the neighbour had a wrong status'],
    [{ broken: 3 }, '3 requests of the neighbour got no answer'],
    [{ answered: 0 }, 'the neighbour got no answer'],
  ])('is refused when its requests were not answered as they should be: %j', (flaw, message) => {
    expect(() => checkAnswers({ ...measured(1), ...flaw })).toThrow(message);
  });

  it('is in the document, with its table, its answers and its chart', async () => {
    const [scenario] = SCENARIOS;
    const rounds = [measured(100)];
    const series = (['service', 'without', 'textbook', 'noOp'] as const).flatMap((contender) => [
      { scenario, contender, rounds, busiestConnections: 1 } as Series,
      { scenario: SCENARIOS.find(({ id }) => id === 'storm'), contender, rounds, busiestConnections: 1 } as Series,
    ]);
    const neighbour = neighbourResult(attacked(20), crash);
    const folder = await mkdtemp(join(tmpdir(), 'bench-documents-'));
    await writeDocuments(
      benchmarkFiles(series, neighbour, { quick: false, rounds: 1, seconds: 1 }, [['Node', 'v20']]),
      pathToFileURL(`${folder}/`),
    );
    const document = readFileSync(join(folder, 'benchmark.md'), 'utf8');
    for (const { name } of ATTACKS) {
      expect(document).toMatch(new RegExp(`^\\| ${name} +\\| +2\\.?0* \\| +2 \\| +≤ 3 \\| met \\|$`, 'm'));
    }
    expect(document).toMatch(/^\| the attack +\| +300 \| +20 \| +40 \| +100 \| 10 × 200 \|$/m);
    expect(document).toMatch(/^\| seconds until account B's charge is recovered \| +30 \| +32 \| +40 \| +1\.25 \|/m);
    expect(document).not.toMatch(/NaN|Infinity|undefined/);
    for (const [, picture = ''] of document.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)) {
      expect(readFileSync(join(folder, picture), 'utf8')).toMatch(/^<svg [^]*<\/svg>\s*$/);
    }
    const drawn = readFileSync(join(folder, 'noisy-neighbour.svg'), 'utf8');
    for (const { name } of ATTACKS) expect(drawn).toContain(`>${name}<`);
    await rm(folder, { recursive: true });
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

  it('has a dashed line at a mark, and the values of all bars beyond it', () => {
    const bars = [{ label: 'a', value: 1, lowest: 1, highest: 1 }];
    const marked = chart('Ratios', [{ kind: 'bars', title: 'Ratio', unit: 'times', bars, mark: 3 }]);
    const [, markX] = /d="M([\d.]+) [^"]*" stroke="[^"]*" stroke-dasharray/.exec(marked) ?? [];
    const [, valueX] = /<text x="([\d.]+)"[^>]*>1 times</.exec(marked) ?? [];
    expect(Number(valueX)).toBeGreaterThan(Number(markX));
    expect(chart('Ratios', [{ kind: 'bars', title: 'Ratio', unit: 'times', bars }])).not.toContain('dasharray');
  });

  it('has its numbers with their units', () => {
    expect(svg).toContain('>5 requests/s (4 to 6)<');
    expect(svg).toContain('>Size, MiB<');
    expect(svg).toContain('>100<');
  });
});
