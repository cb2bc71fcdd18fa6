import type { LabEvent, ReplicaName } from '../world/events.js';
import { type Attempt, attemptsOf } from './attempts.js';

/** Where to send commands and charges. */
export interface Addresses {
  labUrl: string;
  proxyUrl: string;
}

/**
 * The run as commands for a shell. The commands act by hand on the same step. An attempt that was still in flight when the next command
 * was given runs in the background.
 */
export function curlOf(step: string, events: readonly LabEvent[], { labUrl, proxyUrl }: Addresses): string {
  const attempts = attemptsOf(events);
  const lines = [
    `LAB=${labUrl} PROXY=${proxyUrl}`,
    `lab() { curl -sS --fail --retry 60 -o /dev/null "$LAB/commands" -H "Origin: $LAB" -H 'Content-Type: application/json' -d "$1"; }`,
    `charge() { curl -sS -i -m 60 "$PROXY/charges" -H 'Content-Type: application/json' -H "Idempotency-Key: $1" -H "x-lab-replica: $2" -d "$3"; echo; }`,
    '',
    `lab '${JSON.stringify({ kind: 'play', step, scenario: 'by-hand' })}'`,
  ];
  let before: Attempt | undefined;
  let skipped = 0;
  let isLeaseOver = false;
  const skip = () => {
    if (skipped > 0) lines.push(`# ${skipped} more attempts got ${before?.status}`);
    skipped = 0;
  };
  for (const event of events) {
    const attempt = attempts.find(({ begins }) => begins === event.id);
    if (attempt && before && isRepetition(attempt, before)) {
      skipped++;
      continue;
    }
    if (attempt) {
      skip();
      // The lease is longer by hand, so a command ends it.
      if (before?.status === 409 && attempt.status === 200 && !isLeaseOver) lines.push(act('end-leases'));
      lines.push(...charge(attempt, events));
      before = attempt;
    } else if (event.fault) {
      skip();
      if (event.fault === 'end-leases') isLeaseOver = true;
      lines.push(act(event.fault, event.from === 'B' ? 'B' : 'A'));
    } else if (event.kind === 'note' && event.from !== 'bank') lines.push(`# ${event.text}`);
  }
  skip();
  return `${[...lines, 'wait'].join('\n')}\n`;
}

const act = (action: string, replica: ReplicaName = 'A') => `lab '${JSON.stringify({ kind: 'act', action, replica })}'`;

function charge(attempt: Attempt, events: readonly LabEvent[]): string[] {
  const { key, replica = 'A', body } = attempt;
  const command = `charge ${quoted(key)} ${replica} ${quoted(body)}`;
  switch (whatComesBeforeTheEndOf(attempt, events)) {
    case 'nothing':
      return [command];
    case 'attempt':
      return [`${command} &`];
    case 'fault':
      return [`${command} &`, 'sleep 1 # until the request has reached the bank'];
  }
}

const quoted = (text: string) => (/^[\w-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Whether an attempt only repeats a wait: the same request, and again the same status that is not final. */
const isRepetition = (attempt: Attempt, before: Attempt) =>
  attempt.key === before.key &&
  attempt.replica === before.replica &&
  attempt.status === before.status &&
  attempt.status === 409;

function whatComesBeforeTheEndOf(
  { begins, ends = Infinity }: Attempt,
  events: readonly LabEvent[],
): 'nothing' | 'attempt' | 'fault' {
  const isAttempt = ({ kind, from }: LabEvent) => kind === 'request' && from === 'client';
  const next = events.find((event) => event.id > begins && event.id < ends && (isAttempt(event) || event.fault));
  if (!next) return 'nothing';
  return isAttempt(next) ? 'attempt' : 'fault';
}
