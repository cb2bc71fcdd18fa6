import { describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { UsageError } from '../../harness/options.js';
import { Conversation } from '../../bench/budget/conversation.js';
import { budgetText } from '../../bench/budget/document.js';
import { OPERATION_IDS, type Reading, type Readings } from '../../bench/budget/figures.js';
import { THIS_TREE } from '../../bench/budget/tree.js';
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
import { countOf, mixedRequest } from '../../bench/mix.js';
import { processTicks, ticksOf } from '../../bench/processor-time.js';
import type { Round, Series } from '../../bench/rounds.js';
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

const OPTIONS = { quick: false, rounds: 3, seconds: 2 };

/** A round during which other programs used a share of the processors. */
const disturbed = (othersShare: number): Round => ({
  ...measured(100),
  processors: { ownSeconds: 0.02, ownShare: 0.5, othersShare },
});

const BENCHMARK: Benchmark<'fresh' | 'noisy-neighbour' | 'budget'> = {
  command: 'npm run bench',
  usual: { rounds: 5, seconds: 3 },
  quick: { rounds: 1, seconds: 1 },
  parts: ['fresh', 'noisy-neighbour', 'budget'],
};

describe('the options of npm run bench', () => {
  it('gives the options of npm run bench defaults, which are smaller for a quick run', () => {
    expect(readOptions(BENCHMARK, [])).toEqual({ quick: false, only: undefined, rounds: 5, seconds: 3 });
    expect(readOptions(BENCHMARK, ['--quick'])).toEqual({ quick: true, only: undefined, rounds: 1, seconds: 1 });
  });

  it('reads the options of npm run bench from the command line', () => {
    const args = ['--rounds', '2', '--seconds=7', '--only', 'fresh'];
    expect(readOptions(BENCHMARK, args)).toEqual({ quick: false, only: 'fresh', rounds: 2, seconds: 7 });
  });

  it('measures only the budget of an operation with --budget, and compares it with a tree that has been built', () => {
    expect(readOptions(BENCHMARK, ['--budget'])).toMatchObject({ only: 'budget', against: undefined });
    const { against } = readOptions(BENCHMARK, ['--budget', '--against', '.']);
    expect(against).toEqual({ name: '.', main: resolve('dist/src/main.js') });
    expect(() => readOptions(BENCHMARK, ['--budget', '--against', 'docs'])).toThrow('expected a checkout with a build');
  });

  it.each([
    ['--fast', "Unknown option '--fast'"],
    ['--rounds=0', '--rounds 0: expected an integer from 1 to 9999'],
    ['--seconds=soon', '--seconds soon: expected an integer from 1 to 9999'],
    ['--only=half', '--only half: expected one of fresh, noisy-neighbour, budget'],
    ['--against=.', '--against .: expected --budget as well'],
    ['quick', "Unexpected argument 'quick'"],
  ])('refuses options of npm run bench with an error that says what was expected: %s', (option, message) => {
    expect(() => readOptions(BENCHMARK, [option])).toThrow(UsageError);
    expect(() => readOptions(BENCHMARK, [option])).toThrow(message);
  });

  it.each(['--only=budget', '--budget', '--against=.'])('does not know %s in a benchmark without parts', (option) => {
    const [name] = option.split('=');
    expect(() => readOptions({ ...BENCHMARK, parts: [] }, [option])).toThrow(`Unknown option '${name}'`);
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
    const [result] = resultsOf(series, OPTIONS);
    expect(result?.rows[0]).toMatchObject({ contender: 'service', rate: 100, lowest: 90, highest: 110, p99Ms: 2 });
    expect(result?.verdicts).toMatchObject([
      { value: 2.75, target: '≥ 3.5', met: false },
      { value: 10, target: '≥ 8', met: true },
    ]);
    const text = resultsText(resultsOf(series, OPTIONS));
    expect(text).toContain('requests/s: service ÷ textbook: 10 (target ≥ 8: met)\n');
    expect(text).toContain('(target ≥ 3.5: not met)\n  The service also writes and completes a key with its reply.');
    expect(text).toContain('Repeat: npm run bench -- --only fresh --rounds 3 --seconds 2\n');
  });

  it('says of each missed target how much processor time a request took', () => {
    const [scenario] = SCENARIOS;
    const [service, without] = (['service', 'without'] as const).map(
      (contender) => ({ scenario, contender, rounds: [disturbed(0)], busiestConnections: 0 }) as Series,
    );
    const [result] = resultsOf([service, without] as Series[], OPTIONS);
    expect(result?.verdicts[0]?.reason).toContain('with service a request took 2.00 ms of processor time');
  });

  it('names a contender that was not measured in its table, and what it needs', () => {
    const [scenario] = SCENARIOS;
    const series = [
      { scenario, contender: 'service', rounds: [measured(100)], busiestConnections: 0 },
      { scenario, contender: 'powertools', rounds: [], busiestConnections: 0, needs: 'redis-server' },
    ] as unknown as Series[];
    const text = resultsText(resultsOf(series, OPTIONS));
    expect(text).toMatch(/^Powertools for TypeScript +not measured: needs redis-server/m);
    expect(text).not.toMatch(/NaN|Infinity|undefined/);
  });

  it.each([
    [
      'a machine on which other programs are busy in most rounds',
      [0.04, 0.06, 0.07],
      OPTIONS,
      /too busy: other programs used 6 %/,
    ],
    ['a machine on which other programs are busy in one round', [0.01, 0.9, 0.04], OPTIONS, undefined],
    ['a quick run', [0, 0, 0], { ...OPTIONS, quick: true }, /a quick run measures too little/],
  ])('prints rates of %s, and ratios only if they can be trusted', (_, shares, options, reason) => {
    const [scenario] = SCENARIOS;
    const series = [
      { scenario, contender: 'service', rounds: shares.map(disturbed), busiestConnections: 0 },
      { scenario, contender: 'without', rounds: shares.map(() => disturbed(0)), busiestConnections: 0 },
    ] as Series[];
    const text = resultsText(resultsOf(series, options));
    expect(text).toMatch(/^service +100 /m);
    expect(text.includes('÷')).toBe(reason === undefined);
    if (reason) expect(text).toMatch(reason);
  });

  it('counts the processor time of a process with all its descendants, also of those that have ended', () => {
    expect(processTicks(7, '7 (a) b) (c) S 3 7 7 0 -1 0 0 0 0 0 11 12 13 14 20 0')).toEqual({
      ...{ pid: 7, parent: 3, own: 23, endedChildren: 27 },
    });
    const process = (pid: number, parent: number, own: number, endedChildren = 0) => ({
      pid,
      parent,
      own,
      endedChildren,
    });
    const processes = [
      process(1, 0, 100),
      process(2, 0, 0),
      process(9, 2, 5),
      process(30, 1, 8, 2),
      process(31, 30, 4),
    ];
    expect(ticksOf([...processes, process(32, 31, 1), process(40, 1, 50)], 30)).toEqual({ own: 15, kernel: 5 });
  });

  it('mixes seven fresh charges, two replays and one order in each ten requests', () => {
    const kinds = Array.from({ length: 25 }, (_, i) => mixedRequest(i));
    for (const requests of [10, 25]) {
      for (const kind of ['fresh', 'replay', 'order'] as const) {
        expect(countOf(kind, requests)).toBe(kinds.slice(0, requests).filter((one) => one === kind).length);
      }
    }
    expect((['fresh', 'replay', 'order'] as const).map((kind) => countOf(kind, 10))).toEqual([7, 2, 1]);
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

/** A round in which every operation costs the same. */
const budgetOf = (nodeUs: number): Readings => {
  const traffic = { read: 3_000, written: 4_000 };
  const record = { relation: 'charges', bytes: 900, pageImages: 1, pageImageBytes: 400 };
  const reading: Reading = {
    ...{ requests: 10, nodeUs, postgresUs: 200, fsyncs: 5 },
    probe: {
      ...{ statements: 40, transactions: 20, roundTrips: 30, allocatedBytes: 7_000 },
      traffic: { client: traffic, postgres: traffic, bank: traffic },
    },
    wal: [
      { ...record, type: 'Heap INSERT', records: 10 },
      { ...record, type: 'Heap HOT_UPDATE', records: 20 },
      { ...record, type: 'Btree INSERT_LEAF', relation: 'charges_pkey', records: 15 },
      { ...record, type: 'Heap2 PRUNE_ON_ACCESS', records: 0 },
    ],
  };
  return Object.fromEntries(OPERATION_IDS.map((operation) => [operation, [reading]])) as Readings;
};

/** A message of PostgreSQL's protocol. */
const message = (type: string, body = '') => {
  const bytes = Buffer.from(`${type}\0\0\0\0${body}`, 'latin1');
  bytes.writeUInt32BE(bytes.length - type.length, type.length);
  return bytes;
};

describe('the budget of an operation', () => {
  it.each([1, 2, 7, 1_000])(
    'counts statements, transactions and round trips in the messages to PostgreSQL, which arrive in chunks of %d bytes',
    (size) => {
      const asked = { statements: 0, transactions: 0, roundTrips: 0 };
      const conversation = new Conversation(asked);
      const say = (who: 'sent' | 'received', ...messages: Buffer[]) => {
        const bytes = Buffer.concat(messages);
        for (let at = 0; at < bytes.length; at += size) conversation[who](bytes.subarray(at, at + size));
      };
      const statement = [message('P', 'SELECT 1\0\0'), message('B', '\0\0'), message('E', '\0'), message('S')];
      const answer = (status: string) => [message('2'), message('D', 'Z'), message('C', 'OK\0'), message('Z', status)];

      say('sent', message('', '\0\x03\0\0user\0'));
      say('received', message('R', '\0\0\0\0'), message('Z', 'I'));
      Object.assign(asked, { statements: 0, transactions: 0, roundTrips: 0 });
      // Two statements of a transaction share a round trip. COMMIT comes after their answers.
      say('sent', message('Q', 'BEGIN\0'), ...statement);
      say('received', message('C', 'BEGIN\0'), message('Z', 'T'), ...answer('T'));
      say('sent', message('Q', 'COMMIT\0'));
      say('received', message('C', 'COMMIT\0'), message('Z', 'I'));
      // A statement without a transaction of its own.
      say('sent', ...statement);
      say('received', ...answer('I'));
      expect(asked).toEqual({ statements: 4, transactions: 2, roundTrips: 3 });
    },
  );

  it('prints every figure for one request, and the WAL records by type and table', () => {
    const text = budgetText([{ tree: THIS_TREE, readings: budgetOf(1_000) }]);
    expect(text).toMatch(/^ +charge +lone charge +charge, bank apart +lone charge, bank apart$/m);
    expect(text).toMatch(/^CPU in Node, µs +100 +100 +100 +100$/m);
    // The sums of a charge with its message, and with its sweep, are beside the parts.
    expect(text).toMatch(/^CPU in both, µs +120 +120 +240 +360 +120 +120$/m);
    expect(text).toMatch(/^statements +4 +4 +4 +4$/m);
    expect(text).toMatch(/^rows updated in place \(HOT\) +2 +2 +2 +2$/m);
    expect(text).toMatch(/^rows deleted +0 +0 +0 +0$/m);
    expect(text).toMatch(/^index entries +1\.50/m);
    expect(text).toMatch(/^WAL bytes without page images +200/m);
    expect(text).toMatch(/^Heap HOT_UPDATE charges +2\.00 +50\.0$/m);
    expect(text).not.toContain('PRUNE_ON_ACCESS');
  });

  it('compares the budgets of two trees figure by figure', () => {
    const other = { name: 'old', main: '' };
    const text = budgetText([
      { tree: THIS_TREE, readings: budgetOf(1_000) },
      { tree: other, readings: budgetOf(2_000) },
    ]);
    expect(text).toMatch(/^message +this tree +old +ratio$/m);
    expect(text).toMatch(/^CPU in Node, µs +100 +200 +0\.500$/m);
    expect(text).not.toMatch(/NaN|Infinity|undefined/);
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
      neighbourResult(attacked(attackedMs), crash, OPTIONS).attacks.map(({ p50, p99 }) => [p50.met, p99.met]);
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

  it('documents the budget, and the noisy neighbour with its table, its answers and its chart', async () => {
    const [scenario] = SCENARIOS;
    const rounds = [measured(100)];
    const series = (['service', 'without', 'textbook', 'noOp'] as const).flatMap((contender) => [
      { scenario, contender, rounds, busiestConnections: 1 } as Series,
      { scenario: SCENARIOS.find(({ id }) => id === 'storm'), contender, rounds, busiestConnections: 1 } as Series,
    ]);
    const neighbour = neighbourResult(attacked(20), crash, OPTIONS);
    const budget = { tree: THIS_TREE, readings: budgetOf(1_000) };
    const folder = await mkdtemp(join(tmpdir(), 'bench-documents-'));
    await writeDocuments(
      benchmarkFiles({ series, neighbour, budget }, { quick: false, rounds: 1, seconds: 1 }, [['Node', 'v20']]),
      pathToFileURL(`${folder}/`),
    );
    const document = readFileSync(join(folder, 'benchmark.md'), 'utf8');
    for (const { name } of ATTACKS) {
      expect(document).toMatch(new RegExp(`^\\| ${name} +\\| +2\\.?0* \\| +2 \\| +≤ 3 \\| met \\|$`, 'm'));
    }
    expect(document).toMatch(/^\| the attack +\| +300 \| +20 \| +40 \| +100 \| 10 × 200 \|$/m);
    expect(document).toMatch(/^\| seconds until account B's charge is recovered \| +30 \| +32 \| +40 \| +1\.25 \|/m);
    expect(document).toMatch(/^\| CPU in Node, µs +\| +100 \| +100 \|/m);
    expect(document).toMatch(/^\| Heap INSERT charges +\| +1\.00 \| +50\.0 \|$/m);
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
