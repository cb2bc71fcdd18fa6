import { html, nothing, svg, type TemplateResult } from './lit-html.js';
import type { LabState } from '../server/messages.js';
import type { LabEvent, Lane, ReplicaName } from '../world/events.js';
import type { Attempt } from './attempts.js';
import { diagramOf, type Hop, type Line, type Stretch } from './diagram.js';
import { labelOf } from './labels.js';

const TITLES: Record<Lane, string> = {
  client: 'Client',
  proxy: 'Proxy',
  A: 'Replica A',
  B: 'Replica B',
  postgres: 'PostgreSQL',
  bank: 'Bank',
};
const LANES = Object.keys(TITLES) as Lane[];
const STATES: Record<LabState['replicas']['A'], string> = {
  starting: 'is starting',
  running: 'running',
  killed: 'killed',
  frozen: 'frozen',
  stopped: 'stopped',
  failed: 'did not come back',
};
/** Below this width, the diagram has no column for the time. */
const NARROW_PX = 520;
/** The width of a character of a label, which is set in a font of fixed width. */
const CHARACTER_PX = 6.7;

interface Frame {
  width: number;
  left: number;
}

const xOf = (lane: Lane, { width, left }: Frame) =>
  left + ((LANES.indexOf(lane) + 0.5) * (width - left)) / LANES.length;

/** The sequence diagram of everything that has happened. */
export function timeline(
  events: readonly LabEvent[],
  attempts: readonly Attempt[],
  replicas: LabState['replicas'] | undefined,
  width: number,
): TemplateResult {
  const frame: Frame = { width, left: width < NARROW_PX ? 0 : 48 };
  const { lines, stretches, height } = diagramOf(events, attempts);
  const startedAt = events[0]?.at ?? 0;
  return html`
    <div class=${frame.left > 0 ? 'lanes' : 'lanes narrow'}>
      ${LANES.map((lane) => head(lane, lane === 'A' || lane === 'B' ? replicas?.[lane] : undefined))}
    </div>
    <svg
      role="img"
      aria-label="Sequence diagram of ${events.length} events"
      viewBox="0 0 ${width} ${height}"
      width=${width}
      height=${height}
    >
      <defs>
        <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
          <path d="M0 0.5 7.5 4 0 7.5z" />
        </marker>
      </defs>
      ${LANES.filter((lane) => lane !== 'A' && lane !== 'B').map(
        (lane) => svg`<line class="lane" x1=${xOf(lane, frame)} x2=${xOf(lane, frame)} y1="0" y2=${height} />`,
      )}
      ${stretches.map((stretch) => stretchOf(stretch, frame))}
      ${lines.map((line) => lineOf(line, attempts, startedAt, frame))}
    </svg>
    ${events.length === 0 ? html`<p class="empty">Nothing has happened yet.</p>` : nothing}
  `;
}

function head(lane: Lane, state: LabState['replicas'][ReplicaName] | undefined): TemplateResult {
  const name = lane === 'A' || lane === 'B' ? html`<span class="wide-only">Replica </span>${lane}` : TITLES[lane];
  return html`<div class="lane-head" data-lane=${lane}>
    <span>${name}</span>
    ${state && state !== 'running' ? html`<small data-state=${state}>${STATES[state]}</small>` : nothing}
  </div>`;
}

function stretchOf({ lane, state, top, bottom }: Stretch, frame: Frame): TemplateResult | typeof nothing {
  const x = xOf(lane, frame);
  if (state === 'killed') return nothing; // a gap
  if (state === 'busy')
    return svg`<rect class="busy" x=${x - 4} width="8" y=${top} height=${Math.max(0, bottom - top)} rx="2" />`;
  return svg`<line class="lane ${state}" x1=${x} x2=${x} y1=${top} y2=${bottom} />`;
}

function lineOf(line: Line, attempts: readonly Attempt[], startedAt: number, frame: Frame): TemplateResult {
  const { kind, events, hops, y, waitMs } = line;
  const { text, tone } = labelOf(line, attempts);
  const [event] = events;
  const xs =
    hops.length > 0
      ? hops.flatMap(({ from, to }) => [xOf(from, frame), xOf(to, frame)])
      : [xOf(event?.from ?? 'client', frame)];
  const seconds = (((event?.at ?? 0) - startedAt) / 1000).toFixed(2);
  return svg`
    <g class="line ${kind} ${tone}">
      ${
        waitMs
          ? svg`<line class="wait" x1=${frame.left} x2=${frame.width} y1=${y - 32} y2=${y - 32} />
        <text class="wait" x=${frame.left + 6} y=${y - 36}>${(waitMs / 1000).toFixed(1)} s later</text>`
          : nothing
      }
      ${frame.left > 0 ? svg`<text class="time" x="0" y=${y + 4}>${seconds} s</text>` : nothing}
      ${labelText(text, Math.min(...xs), y, frame)}
      ${hops.map((hop) => arrow(hop, y, frame))}
      ${kind === 'process' ? processMark(event?.state, xs[0] ?? 0, y) : nothing}
      ${kind === 'note' ? svg`<circle class="note-dot" cx=${xs[0] ?? 0} cy=${y} r="3.5" />` : nothing}
      ${kind === 'commit' ? commitMark(hops[0], y, frame) : nothing}
    </g>`;
}

/** The label begins at the left end of its arrow. If it is too long for that, it ends at the edge of the diagram. */
function labelText(text: string, left: number, y: number, { width }: Frame): TemplateResult {
  const isLong = left + 8 + text.length * CHARACTER_PX > width;
  return isLong
    ? svg`<text class="label" text-anchor="end" x=${width - 6} y=${y - 7}>${text}</text>`
    : svg`<text class="label" x=${left + 8} y=${y - 7}>${text}</text>`;
}

function arrow({ from, to, isLost }: Hop, y: number, frame: Frame): TemplateResult {
  const [x1, x2] = [xOf(from, frame), xOf(to, frame)];
  if (!isLost || to === 'postgres')
    return svg`<line class="arrow" marker-end="url(#arrow)" x1=${x1} x2=${x2} y1=${y} y2=${y} />`;
  const middle = (x1 + x2) / 2;
  return svg`<line class="arrow" x1=${x1} x2=${middle} y1=${y} y2=${y} />${cross(middle, y)}`;
}

const cross = (x: number, y: number) => svg`<path class="cross" d="M${x - 6} ${y - 6}l12 12m0-12l-12 12" />`;

/** A commit whose answer is lost: the message has arrived, and what comes back has not. */
function commitMark(hop: Hop | undefined, y: number, frame: Frame): TemplateResult | typeof nothing {
  if (!hop) return nothing;
  const [x1, x2] = [xOf(hop.from, frame), xOf(hop.to, frame)];
  const dot = svg`<circle class="commit-dot" cx=${x2} cy=${y} r="5" />`;
  if (!hop.isLost) return dot;
  const middle = (x1 + x2) / 2;
  return svg`${dot}<line class="arrow" x1=${x2} x2=${middle} y1=${y + 12} y2=${y + 12} />${cross(middle, y + 12)}`;
}

function processMark(state: LabEvent['state'], x: number, y: number): TemplateResult {
  return state === 'killed' ? cross(x, y) : svg`<circle class="process-dot" cx=${x} cy=${y} r="4.5" />`;
}
