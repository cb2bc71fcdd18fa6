import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { UsageError } from '../../harness/options.js';
import { BROKER_FAULTS } from '../chaos/broker-faults.js';
import { kindsOf } from '../chaos/faults.js';
import { History, type HistoryEvent, type Operation, type Reply } from '../chaos/history.js';
import { lostAnswers } from '../chaos/lost-answers.js';
import { chargeOf, orderOf, paymentOf } from '../chaos/operations.js';
import { argumentsOf, readOptions } from '../chaos/options.js';
import { Random } from '../chaos/random.js';
import { timeline } from '../chaos/timeline.js';

describe('the options of npm run chaos', () => {
  it('gives the options of npm run chaos defaults, with a new seed each time', () => {
    const [first, second] = [readOptions([]), readOptions([])];
    expect(first).toMatchObject({ mode: 'random', seconds: 60, replicas: 3, faults: kindsOf(), only: [] });
    expect(first.replication).toBeUndefined();
    expect(first.seed).not.toBe(second.seed);
  });

  it('reads the options of npm run chaos from the command line', () => {
    const args = ['--seconds', '5', '--seed', '7', '--replicas', '2', '--faults', 'kill,storm'];
    expect(readOptions(args)).toMatchObject({ seconds: 5, seed: 7, replicas: 2, faults: ['kill', 'storm'] });
    expect(readOptions(['--planted', 'lock-in-memory'])).toMatchObject({ mode: 'planted', only: ['lock-in-memory'] });
    expect(readOptions(['--fail-points'])).toMatchObject({ mode: 'fail points' });
    expect(readOptions(['--chart', 'docs/a.svg'])).toMatchObject({ mode: 'random', chart: 'docs/a.svg' });
    expect(readOptions(['--bus', 'kafka']).bus).toBe('kafka');
  });

  it('injects faults of a broker only if there is a broker', () => {
    const kinds = (...args: string[]) => readOptions(args).faults.filter((kind) => kind in BROKER_FAULTS);
    expect(kinds()).toEqual([]);
    expect(kinds('--bus', 'rabbitmq')).toEqual(Object.keys(BROKER_FAULTS));
  });

  it('adds faults of a cluster to the faults of a chaos run on a cluster, in which no killed primary is started again', () => {
    const [quorum, asynchronous] = [readOptions(['--cluster']), readOptions(['--cluster', '--async'])];
    expect([quorum.replication, asynchronous.replication]).toEqual(['quorum', 'asynchronous']);
    expect(quorum.faults).toEqual(expect.arrayContaining(['kill', 'primary killed', 'planned switch-over']));
    expect(quorum.faults).not.toContain('database killed');
    expect(asynchronous.faults).toEqual(quorum.faults);
  });

  it('prints the options of a run as the command line that repeats the run', () => {
    const options = readOptions(['--seconds', '5', '--seed', '7', '--replicas', '2', '--faults', 'kill,network cut']);
    expect(argumentsOf(options)).toBe("--seed 7 --seconds 5 --replicas 2 --faults 'kill,network cut'");
    expect(argumentsOf(readOptions(['--seed', '7']))).toBe('--seed 7 --seconds 60 --replicas 3');
    const withBus = readOptions(['--seed', '7', '--bus', 'rabbitmq']);
    expect(argumentsOf(withBus)).toBe('--seed 7 --seconds 60 --replicas 3 --bus rabbitmq');
    const cluster = ['--cluster', '--async', '--seed', '7'];
    expect(argumentsOf(readOptions(cluster))).toBe('--seed 7 --seconds 60 --replicas 3 --cluster --async');
  });

  it.each([
    [['--seconds', '0'], '--seconds 0: expected an integer from 1'],
    [['--seed', 'x'], '--seed x: expected an integer from 0'],
    [['--replicas', '1'], '--replicas 1: expected an integer from 2 to 8'],
    [['--faults', 'kill,fire'], '--faults fire: expected one of kill, '],
    [['--faults', ''], '--faults : expected one of kill, '],
    [['kill'], 'kill: expected options only'],
    [['--bus', 'redis'], '--bus redis: expected one of rabbitmq, kafka'],
    [['--bus', 'kafka', '--planted'], '--bus: expected without --planted or --fail-points'],
    [['--faults', 'broker killed'], '--faults broker killed: expected one of kill, '],
    [['--planted', 'lock-in-memory', 'lock'], 'name lock: expected one of no-unique-constraint, '],
    [['--fail-points', 'claim.before', 'claim'], 'name claim: expected one of claim.before, '],
    [['--faults', 'primary killed'], '--faults primary killed: expected one of kill, '],
    [['--cluster', '--faults', 'database killed'], '--faults database killed: expected one of kill, '],
    [['--async'], '--async: expected together with --cluster'],
    [['--cluster', '--planted'], '--cluster: expected without --planted or --fail-points'],
    [['--planted', '--fail-points'], '--planted, --fail-points: expected one of them'],
    [['--fautls', 'kill'], "Unknown option '--fautls'"],
  ])('refuses options of npm run chaos with an error that says what was expected: %j', (args, message) => {
    expect(() => readOptions(args)).toThrow(UsageError);
    expect(() => readOptions(args)).toThrow(message);
  });
});

describe('Random', () => {
  const draw = (random: Random) => Array.from({ length: 20 }, () => random.integer(0, 1_000_000));

  it('gives the same random numbers for the same seed, and different numbers for different seeds', () => {
    expect(draw(new Random(7))).toEqual(draw(new Random(7)));
    expect(draw(new Random(7))).not.toEqual(draw(new Random(8)));
  });

  it('gives a fork the same numbers regardless of how many numbers its parent has drawn', () => {
    const [busy, idle] = [new Random(7), new Random(7)];
    draw(busy);
    expect(draw(busy.fork(3))).toEqual(draw(idle.fork(3)));
    expect(draw(busy.fork(3))).not.toEqual(draw(busy.fork(4)));
    expect(draw(busy.fork(0).fork(1))).not.toEqual(draw(busy.fork(2)));
  });

  it('draws every integer from the least to the most, and no other integer', () => {
    const random = new Random(7);
    expect(new Set(Array.from({ length: 500 }, () => random.integer(3, 6)))).toEqual(new Set([3, 4, 5, 6]));
    expect(random.shuffled([1, 2, 3, 4, 5]).sort()).toEqual([1, 2, 3, 4, 5]);
  });
});

describe('an operation', () => {
  it('writes the id of an operation into its body, so that each effect can be assigned to its operation', () => {
    const items = [{ item_id: 'item_1', quantity: 2, unit_amount: 300 }];
    const order = orderOf('acct_a', 'o-1', items, false);
    const payment: Operation = paymentOf(order, 'k-1');
    expect(order).toMatchObject({ id: 'acct_a:o-1', body: { order_id: 'o-1', customer_id: 'acct_a:o-1' } });
    expect(order).not.toHaveProperty('key');
    expect(orderOf('acct_a', 'o-1', items, true).key).toBe('o-1');
    expect(payment).toMatchObject({ key: 'k-1', body: { description: 'acct_a:k-1', order_id: 'o-1', amount: 600 } });
  });
});

describe('the history', () => {
  let directory: string;
  beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), 'history-'))));
  afterAll(() => rmSync(directory, { recursive: true }));

  it('writes the same events to the file of the history as it keeps in memory', () => {
    const file = join(directory, 'history.jsonl');
    const history = new History(file);
    history.add({ type: 'operation', operation: chargeOf('acct_a', 'k-1', 500) });
    for (let n = 0; n < 300; n++) {
      const attempt = history.invoke('acct_a:k-1', 2);
      history.add({ type: 'info', attempt, reason: 'socket hang up' });
    }
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(history.events);
    expect(history.events).toHaveLength(601);
  });

  it('draws the history as a chart of how attempts ended, when faults landed and where a phase begins', () => {
    const events: HistoryEvent[] = [
      { at: 1_000, type: 'phase', name: 'load' },
      { at: 1_500, type: 'info', attempt: 0, reason: 'lost' },
      { at: 1_600, type: 'fault', kind: 'kill', state: 'attempted', about: '' },
      { at: 1_700, type: 'fault', kind: 'kill', state: 'landed', about: '' },
      { at: 3_000, type: 'phase', name: 'healed' },
    ];
    const svg = timeline('<a run>', events, ['kill', 'freeze']);
    expect(svg).toContain('&lt;a run');
    expect(svg.match(/<circle /g)).toHaveLength(1);
    for (const text of ['kill', 'freeze', 'load', 'healed', '1 attempts/s']) expect(svg).toContain(`>${text}</text>`);
  });

  it('finds the final answers that did not last, and leaves out answers that may change', () => {
    const order = orderOf('acct_a', 'o-1', [], false);
    const [kept, lost, old] = ['k-1', 'k-2', 'k-3'].map((name) => chargeOf('acct_a', name, 500)) as [
      Operation,
      Operation,
      Operation,
    ];
    const events: HistoryEvent[] = [order, kept, lost, old].map((operation) => ({
      at: 0,
      type: 'operation',
      operation,
    }));
    events.push({ at: 0, type: 'recorded', operation: old.id, reply: replyOf('first'), expiresAt: 1 });
    const answer = (attempt: number, { id }: Operation, body: string) =>
      events.push(
        { at: 1, type: 'invoke', attempt, operation: id, replica: 1 },
        { at: 2, type: 'ok', attempt, reply: replyOf(body) },
      );
    [order, kept, lost, old].forEach((operation, i) => answer(i, operation, 'first'));
    [order, lost, old].forEach((operation, i) => answer(4 + i, operation, 'second'));
    answer(7, kept, 'first');
    expect([...lostAnswers(events)]).toEqual([2]);
  });
});

const replyOf = (body: string): Reply => ({ status: 200, contentType: 'application/json', body, replayed: false });
