import type { LabEvent, ReplicaName } from '../world/events.js';
import { type Attempt, attemptsOf } from './attempts.js';

/** Where to send commands and charges. */
export interface Addresses {
  labUrl: string;
  proxyUrl: string;
}

/**
 * The run as commands for a shell. The commands act by hand on the same step. An attempt that was still under way when the next thing
 * happened runs in the background.
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
  const isCrowd = attempts.length > 1;
  let before: Attempt | undefined;
  let skipped = 0;
  const skip = () => {
    if (skipped > 0) lines.push(`# ${skipped} more attempts got ${before?.status ?? 'no reply'}`);
    skipped = 0;
  };
  for (const event of events) {
    const attempt = event.kind === 'request' && attempts.find(({ begins }) => begins === event.id);
    if (attempt) {
      if (before && isRepetition(attempt, before)) {
        skipped++;
        continue;
      }
      skip();
      if (before?.status === 409 && before.key === attempt.key && attempt.status === 200) lines.push(act('end-leases'));
      lines.push(charge(attempt, isCrowd && isOverlapped(attempt, events)));
      before = attempt;
    }
    if (event.fault && event.fault !== 'end-leases') {
      skip();
      lines.push(act(event.fault, event.from === 'B' ? 'B' : 'A'));
    } else if (event.kind === 'note' && event.from !== 'bank') lines.push(`# ${event.text}`);
  }
  skip();
  return `${[...lines, 'wait'].join('\n')}\n`;
}

const act = (action: string, replica: ReplicaName = 'A') => `lab '${JSON.stringify({ kind: 'act', action, replica })}'`;

function charge({ key, replica = 'A', body }: Attempt, isInBackground: boolean): string {
  return `charge ${quoted(key)} ${replica} ${quoted(body)}${isInBackground ? ' &' : ''}`;
}

const quoted = (text: string) => (/^[\w-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Whether an attempt only repeats a wait: the same request, and again the same status that is not final. */
const isRepetition = (attempt: Attempt, before: Attempt) =>
  attempt.key === before.key &&
  attempt.replica === before.replica &&
  attempt.status === before.status &&
  attempt.status === 409;

/** Whether another attempt or a fault began before this attempt ended. */
const isOverlapped = ({ begins, ends }: Attempt, events: readonly LabEvent[]) =>
  events.some(({ id, kind, from, fault }) => {
    const isNext = (kind === 'request' && from === 'client') || fault !== undefined;
    return isNext && id > begins && (ends === undefined || id < ends);
  });
