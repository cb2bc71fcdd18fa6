import { describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { UsageError } from '../../harness/options.js';
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
import { type Benchmark, readOptions } from '../../bench/options.js';
import { markdownTable, readable, resultsText } from '../../bench/report.js';
import { resultsOf } from '../../bench/results.js';
import type { Series } from '../../bench/rounds.js';
import { SCENARIOS } from '../../bench/scenarios.js';
import { median, medianRatio, percentile } from '../../bench/statistics.js';

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

const BENCHMARK: Benchmark<'contenders' | 'noisy-neighbour'> = {
  command: 'npm run bench',
  usual: { rounds: 5, seconds: 3 },
  quick: { rounds: 1, seconds: 1 },
  parts: ['contenders', 'noisy-neighbour'],
};

describe('the options of npm run bench', () => {
  it('gives the options of npm run bench defaults, which are smaller for a quick run', () => {
    expect(readOptions(BENCHMARK, [])).toEqual({ quick: false, only: undefined, rounds: 5, seconds: 3 });
    expect(readOptions(BENCHMARK, ['--quick'])).toEqual({ quick: true, only: undefined, rounds: 1, seconds: 1 });
  });

  it('reads the options of npm run bench from the command line', () => {
    const args = ['--rounds', '2', '--seconds=7', '--only', 'contenders'];
    expect(readOptions(BENCHMARK, args)).toEqual({ quick: false, only: 'contenders', rounds: 2, seconds: 7 });
  });

  it.each([
    ['--fast', "Unknown option '--fast'"],
    ['--rounds=0', '--rounds 0: expected an integer from 1 to 9999'],
    ['--seconds=soon', '--seconds soon: expected an integer from 1 to 9999'],
    ['--only=half', '--only half: expected one of contenders, noisy-neighbour'],
    ['quick', "Unexpected argument 'quick'"],
  ])('refuses options of npm run bench with an error that says what was expected: %s', (option, message) => {
    expect(() => readOptions(BENCHMARK, [option])).toThrow(UsageError);
    expect(() => readOptions(BENCHMARK, [option])).toThrow(message);
  });
});

describe('the results of the benchmark', () => {
  it('computes medians, percentiles by the nearest rank, and ratios within one round', () => {
    expect([median([3, 1, 2]), median([4, 1, 3, 2])]).toEqual([2, 2.5]);
    expect(() => median([])).toThrow(RangeError);
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect([percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([7], 0.99)]).toEqual([50, 99, 7]);
    // The second round was slow for both contenders. The ratio of the medians would be 2.
    expect(medianRatio([30, 6, 20], [10, 2, 10])).toBe(3);
    expect(() => medianRatio([1], [1, 2])).toThrow(RangeError);
  });

  it('reports a row for each contender and a verdict for each target', () => {
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

  it('prints numbers with three significant digits and in aligned columns', () => {
    expect([1234.5, 100.4, 12.34, 1.234, 7].map(readable)).toEqual(['1,235', '100', '12.3', '1.23', '7']);
    expect(markdownTable(['', 'a'], [['x', '1']])).toBe('|  | a |\n| --- | ---: |\n| x | 1 |');
  });

  it('summarizes a sweep from samples of the table', () => {
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
  ])('refuses a measurement whose work was not honest: %j', async (flaw, message) => {
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
  it('compares an attack with as many honest requests, in the same time and as many at a time', () => {
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

  it('meets the target of a noisy neighbour at three times the latency beside honest load, and misses the target above that', () => {
    const verdictsOf = (attackedMs: number) =>
      neighbourResult(attacked(attackedMs), crash).attacks.map(({ p50, p99 }) => [p50.met, p99.met]);
    expect(verdictsOf(30)).toEqual(ATTACKS.map(() => [true, true]));
    expect(verdictsOf(31)).toEqual(ATTACKS.map(() => [false, false]));
  });

  it.each([
    [{ refused: 2, statuses: { 200: 8, 503: 2 } }, '2 answers to the neighbour had a wrong status'],
    [{ broken: 3 }, '3 requests of the neighbour got no answer'],
    [{ answered: 0 }, 'the neighbour got no answer'],
  ])('refuses a measurement whose neighbour did not get the expected answers: %j', (flaw, message) => {
    expect(() => checkAnswers({ ...measured(1), ...flaw })).toThrow(message);
  });

  it('documents the noisy neighbour with its table, its answers and its chart', async () => {
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

  it('draws a chart as well-formed SVG without scripts or references', () => {
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

  it('draws a dashed line at a mark, and prints the values of bars to the right of the line', () => {
    const bars = [{ label: 'a', value: 1, lowest: 1, highest: 1 }];
    const marked = chart('Ratios', [{ kind: 'bars', title: 'Ratio', unit: 'times', bars, mark: 3 }]);
    const [, markX] = /d="M([\d.]+) [^"]*" stroke="[^"]*" stroke-dasharray/.exec(marked) ?? [];
    const [, valueX] = /<text x="([\d.]+)"[^>]*>1 times</.exec(marked) ?? [];
    expect(Number(valueX)).toBeGreaterThan(Number(markX));
    expect(chart('Ratios', [{ kind: 'bars', title: 'Ratio', unit: 'times', bars }])).not.toContain('dasharray');
  });

  it('prints the numbers of a chart with their units', () => {
    expect(svg).toContain('>5 requests/s (4 to 6)<');
    expect(svg).toContain('>Size, MiB<');
    expect(svg).toContain('>100<');
  });
});
