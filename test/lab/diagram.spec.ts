// Goal: the page draws what has happened, and says the same about it.
// Method: give events to the functions of the page that need no browser.
import { describe, expect, it } from '@jest/globals';
import { attemptsOf } from '../../lab/page/attempts.js';
import { curlOf } from '../../lab/page/curl.js';
import { diagramOf } from '../../lab/page/diagram.js';
import { labelOf, shortened } from '../../lab/page/labels.js';
import { hashOf, nextOf, selectionOf } from '../../lab/page/selection.js';
import type { LabEvent, NewEvent, ReplicaName } from '../../lab/world/events.js';

const BODY = '{"amount":1999,"currency":"eur"}';
const asSent = (event: NewEvent, i: number): LabEvent => ({ id: i + 1, at: 10 * i, ...event });

/** The events of one attempt, from the client to the replica and back. */
const there = (attempt: number, replica: ReplicaName = 'A', key = 'order_1'): NewEvent[] => [
  { kind: 'request', from: 'client', to: 'proxy', text: 'POST /charges', attempt, key, body: BODY },
  { kind: 'request', from: 'proxy', to: replica, text: 'POST /charges', attempt, key },
];
const back = (
  attempt: number,
  digest: string,
  about: Partial<NewEvent> = {},
  replica: ReplicaName = 'A',
): NewEvent[] => {
  const reply = { kind: 'reply', text: '200', status: 200, attempt, key: 'order_1', digest, ...about } as const;
  return [
    { ...reply, from: replica, to: 'proxy', lost: false },
    { ...reply, from: 'proxy', to: 'client' },
  ];
};
const process = (state: 'killed' | 'running', fault: 'kill' | 'start', lane: ReplicaName): NewEvent => ({
  kind: 'process',
  from: lane,
  to: lane,
  text: `The process is ${state}.`,
  state,
  fault,
});

const REPLY_LOST = [...there(1), ...back(1, 'aa', { lost: true }), ...there(2), ...back(2, 'bb')].map(asSent);
const labelsOf = (events: readonly LabEvent[]) => {
  const attempts = attemptsOf(events);
  return diagramOf(events, attempts).lines.map((line) => labelOf(line, attempts).text);
};

describe('the diagram', () => {
  it('draws one row for a message that passes the proxy, and says whether a reply was lost', () => {
    expect(labelsOf(REPLY_LOST)).toEqual([
      '#1 POST /charges · order_1',
      '#1 200 · lost',
      '#2 POST /charges · order_1',
      '#2 200 · first reply',
    ]);
    const [, lost] = diagramOf(REPLY_LOST, attemptsOf(REPLY_LOST)).lines;
    expect(lost?.hops.map(({ isLost }) => isLost)).toEqual([false, true]);
  });

  it('ends the lane of a killed process, and begins the lane again when the process is started', () => {
    const events = [...there(1), process('killed', 'kill', 'A'), process('running', 'start', 'A')].map(asSent);
    const { stretches, lines, height } = diagramOf(events, attemptsOf(events));
    const [, killed, started] = lines.map(({ y }) => y);
    expect(stretches.filter(({ lane, state }) => lane === 'A' && state !== 'busy')).toEqual([
      { lane: 'A', state: 'running', top: 0, bottom: killed },
      { lane: 'A', state: 'killed', top: killed, bottom: started },
      { lane: 'A', state: 'running', top: started, bottom: height },
    ]);
    expect(stretches.find(({ state }) => state === 'busy')?.bottom).toBe(killed);
  });

  it('lets many equal messages share a row, but not replies with other bytes', () => {
    const numbers = [1, 2, 3, 4, 5, 6];
    const events = [
      ...numbers.flatMap((number) => there(number)),
      ...numbers.flatMap((number) => back(number, number === 6 ? 'bb' : 'aa', { replayed: number > 1 })),
    ].map(asSent);
    expect(labelsOf(events)).toEqual([
      '#1 POST /charges · order_1',
      '5 × POST /charges · order_1',
      '#1 200 · first reply',
      '4 × 200 · replayed · same bytes',
      '#6 200 · replayed · other bytes',
    ]);
  });

  it('shows the time in which nothing has happened', () => {
    const events = [...there(1), ...back(1, 'aa')].map(asSent);
    const late = events.map((event) => (event.kind === 'reply' ? { ...event, at: event.at + 2_000 } : event));
    expect(diagramOf(late, attemptsOf(late)).lines.map(({ waitMs }) => waitMs)).toEqual([undefined, 2_020]);
  });

  it('shortens ids to the part that differs, and nothing else', () => {
    expect(shortened('ch_01a20bdb9f1c7e0a8b1c2d3e4f5a6b7c')).toBe('ch_…4f5a6b7c');
    expect(shortened('0f8fad5b-d9cb-469f-a165-70867728950e')).toBe('…7728950e');
    expect(shortened('order_12')).toBe('order_12');
    expect(shortened('none_0f8fad5b-d9cb-469f-a165-70867728950e')).toBe('none');
  });
});

describe('the attempts', () => {
  it('compare the bytes of a reply with the first reply to the same request', () => {
    const second = there(4).map((event) => ({ ...event, ...(event.from === 'client' && { nth: 2 }) }));
    const events = [
      ...[1, 2, 3].flatMap((number) => there(number)),
      ...second,
      ...back(1, 'aa'),
      ...back(2, 'aa'),
      ...back(3, 'bb'),
      ...back(4, 'cc'),
    ].map(asSent);
    expect(attemptsOf(events).map(({ bytes }) => bytes)).toEqual(['first', 'same', 'other', 'first']);
  });
});

describe('the commands for curl', () => {
  const addresses = { labUrl: 'http://127.0.0.1:1', proxyUrl: 'http://127.0.0.1:2' };
  const commandsOf = (events: readonly LabEvent[]) => curlOf('3', events, addresses).split('\n').slice(4);

  it('repeat the attempts in their order, and wait for each if nothing came before its end', () => {
    expect(commandsOf(REPLY_LOST)).toEqual([
      `lab '{"kind":"play","step":"3","scenario":"by-hand"}'`,
      `charge order_1 A '${BODY}'`,
      `charge order_1 A '${BODY}'`,
      'wait',
      '',
    ]);
  });

  it('let an attempt wait in the background while a process is killed, and leave out attempts that only waited', () => {
    const refused = { text: '409', status: 409 };
    const events = [
      ...there(1),
      process('killed', 'kill', 'A'),
      ...[2, 3, 4].flatMap((number) => [...there(number, 'B'), ...back(number, 'cc', refused, 'B')]),
      ...there(5, 'B'),
      ...back(5, 'aa', {}, 'B'),
    ].map(asSent);
    expect(commandsOf(events).slice(1)).toEqual([
      `charge order_1 A '${BODY}' &`,
      'sleep 1 # until the request has reached the bank',
      `lab '{"kind":"act","action":"kill","replica":"A"}'`,
      `charge order_1 B '${BODY}'`,
      '# 2 more attempts got 409',
      `lab '{"kind":"act","action":"end-leases","replica":"A"}'`,
      `charge order_1 B '${BODY}'`,
      'wait',
      '',
    ]);
  });

  it('quote a key, so that a key cannot become a command', () => {
    const events = there(1, 'A', "a'; rm -r b").map(asSent);
    expect(commandsOf(events)).toContain(`charge 'a'\\''; rm -r b' A '${BODY}'`);
  });
});

describe('the view', () => {
  const step = (label: string, brokenBy: string[]) => ({
    label,
    title: label,
    source: '',
    code: '',
    brokenBy,
    marks: {},
  });
  const scenario = (name: string) => ({ name, title: name, story: '' });
  const catalogue = {
    steps: [step('1', ['a', 'b']), step('2', ['b']), step('service', [])],
    scenarios: [scenario('a'), scenario('b')],
    invariants: {},
  };

  it('is read from a link and written to a link, and replaces names that do not exist', () => {
    expect(selectionOf('#step=2&scenario=b', catalogue)).toEqual({ step: '2', scenario: 'b' });
    expect(selectionOf(hashOf({ step: 'service', scenario: 'by-hand' }), catalogue)).toEqual({
      step: 'service',
      scenario: 'by-hand',
    });
    expect(selectionOf('#step=9&scenario=%00', catalogue)).toEqual({ step: '1', scenario: 'a' });
    expect(selectionOf('', catalogue)).toEqual({ step: '1', scenario: 'a' });
  });

  it('leads from a failure to the next step, from there to what breaks this step, and from scenario to scenario at the end', () => {
    expect(nextOf({ step: '1', scenario: 'a' }, false, catalogue)).toEqual({ step: '2', scenario: 'a' });
    expect(nextOf({ step: '2', scenario: 'a' }, true, catalogue)).toEqual({ step: '2', scenario: 'b' });
    expect(nextOf({ step: 'service', scenario: 'a' }, true, catalogue)).toEqual({ step: 'service', scenario: 'b' });
    expect(nextOf({ step: 'service', scenario: 'b' }, true, catalogue)).toBeUndefined();
  });
});
