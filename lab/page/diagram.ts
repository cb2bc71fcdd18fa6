import type { LabEvent, Lane, ReplicaName } from '../world/events.js';
import type { Attempt } from './attempts.js';

/** One message over one or two lanes: what the client sends passes the proxy. */
export interface Hop {
  from: Lane;
  to: Lane;
  isLost: boolean;
}

/** One row of the diagram. */
export interface Line {
  kind: 'message' | 'commit' | 'process' | 'note';
  /** The first event of each message that this row shows. More than one if many equal messages share a row. */
  events: LabEvent[];
  hops: Hop[];
  y: number;
  /** Milliseconds without any event before this row, if they are worth showing. */
  waitMs?: number;
}

/** The state of a replica in a part of its lane, or the time in which it works on a request. */
export interface Stretch {
  lane: ReplicaName;
  state: 'running' | 'killed' | 'frozen' | 'busy';
  top: number;
  bottom: number;
}

export interface Diagram {
  lines: Line[];
  stretches: Stretch[];
  height: number;
}

const ROW = 33;
const TOP = 28;
/** The height of a diagram in which nothing has happened yet. */
const LEAST_HEIGHT = 240;
/** Additional space for a time in which nothing happens. */
const WAIT_SPACE = 26;
const WAIT_MS = 700;
/** The two hops of one message follow one another within this time. */
const HOP_MS = 1_000;
/** From this number of attempts on, equal messages share a row. */
const MANY_ATTEMPTS = 5;
const SHARED_ROW_MS = 1_500;

/** Places everything that has happened in rows, from top to bottom. */
export function diagramOf(events: readonly LabEvent[], attempts: readonly Attempt[]): Diagram {
  const lines = linesOf(events, attempts);
  let y = TOP;
  let lastAt = lines[0]?.events[0]?.at ?? 0;
  for (const line of lines) {
    const at = line.events[0]?.at ?? 0;
    if (at - lastAt > WAIT_MS) {
      line.waitMs = at - lastAt;
      y += WAIT_SPACE;
    }
    line.y = y;
    y += ROW;
    lastAt = Math.max(lastAt, line.events.at(-1)?.at ?? 0);
  }
  const height = Math.max(LEAST_HEIGHT, y + ROW / 2);
  return { lines, height, stretches: stretchesOf(lines, height) };
}

function linesOf(events: readonly LabEvent[], attempts: readonly Attempt[]): Line[] {
  const isShared = attempts.length >= MANY_ATTEMPTS;
  const lines: Line[] = [];
  const open = new Map<string, { line: Line; to: Lane; at: number }>();
  const shared = new Map<string, { line: Line; at: number }>();
  for (const event of events) {
    const { kind, from, to, attempt, at } = event;
    const hop: Hop = { from, to, isLost: event.lost ?? false };
    const thread = `${kind} ${attempt}`;
    const before = open.get(thread);
    open.delete(thread);
    const isFirst = before?.line.events[0]?.attempt === attempt;
    // In a shared row, the first message shows the way of all. A message that is lost on this way gets a row of its own.
    if (attempt !== undefined && before?.to === from && at - before.at < HOP_MS && (isFirst || !hop.isLost)) {
      if (isFirst) before.line.hops.push(hop);
      continue;
    }
    const signature = signatureOf(event, attempts);
    const equal = shared.get(signature);
    let line: Line;
    if (isShared && equal && kind !== 'process' && at - equal.at < SHARED_ROW_MS) {
      line = equal.line;
      line.events.push(event);
    } else {
      line = { kind: kindOf(event), events: [event], hops: kind === 'note' || kind === 'process' ? [] : [hop], y: 0 };
      lines.push(line);
    }
    shared.set(signature, { line, at });
    if (!hop.isLost) open.set(thread, { line, to, at });
  }
  return lines;
}

/** Messages with the same signature look the same in the diagram, except for their numbers and keys. */
function signatureOf(event: LabEvent, attempts: readonly Attempt[]): string {
  const { kind, from, to, text, status, lost } = event;
  const attempt = attempts.find(({ number }) => number === event.attempt);
  const isRepetition = attempts.find(({ key }) => key === attempt?.key) !== attempt;
  const bytes = kind === 'reply' && attempt?.bytes;
  return [kind, from, to, text, status, lost, attempt?.replica, attempt?.isReplayed, bytes, isRepetition].join();
}

const kindOf = ({ kind }: LabEvent): Line['kind'] => (kind === 'request' || kind === 'reply' ? 'message' : kind);

function stretchesOf(lines: readonly Line[], height: number): Stretch[] {
  return (['A', 'B'] as const).flatMap((lane) => [...workOf(lane, lines, height), ...statesOf(lane, lines, height)]);
}

function statesOf(lane: ReplicaName, lines: readonly Line[], height: number): Stretch[] {
  const stretches: Stretch[] = [{ lane, state: 'running', top: 0, bottom: height }];
  for (const { kind, events, y } of lines) {
    const [event] = events;
    if (kind !== 'process' || event?.from !== lane) continue;
    const last = stretches.at(-1);
    if (last) last.bottom = y;
    const state = event.state === 'killed' || event.state === 'frozen' ? event.state : 'running';
    stretches.push({ lane, state, top: y, bottom: height });
  }
  return stretches;
}

/** The times in which a replica has a request that it has not answered. */
function workOf(lane: ReplicaName, lines: readonly Line[], height: number): Stretch[] {
  const stretches: Stretch[] = [];
  const busy: Stretch[] = [];
  const begin = (y: number) => {
    const stretch: Stretch = { lane, state: 'busy', top: y, bottom: height };
    stretches.push(stretch);
    busy.push(stretch);
  };
  const end = (y: number) => {
    const stretch = busy.shift();
    if (stretch) stretch.bottom = y;
  };
  for (const { kind, events, hops, y } of lines) {
    if (kind === 'process' && events[0]?.from === lane && events[0].state === 'killed') while (busy.length > 0) end(y);
    if (kind !== 'message') continue;
    const last = hops.at(-1);
    if (hops[0]?.from === 'client' && last?.to === lane) events.forEach(() => begin(y));
    if (hops[0]?.from === lane && hops[0].to === 'proxy') events.forEach(() => end(y));
  }
  return stretches;
}
