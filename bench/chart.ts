import { readable } from './report.js';

/** A number drawn as a bar, with a whisker from the lowest to the highest round. */
export interface Bar {
  label: string;
  value: number;
  lowest: number;
  highest: number;
  /** Whether the bar has the highlight colour. */
  isOurs?: boolean;
}

/** Bars with a common scale. */
export interface BarPanel {
  kind: 'bars';
  title: string;
  unit: string;
  bars: readonly Bar[];
  /** The position of a dashed line, such as a target. */
  mark?: number;
}

/** Lines over a common x axis. Both axes begin at zero. */
export interface LinePanel {
  kind: 'lines';
  title: string;
  xUnit: string;
  yUnit: string;
  lines: readonly { label: string; points: readonly (readonly [x: number, y: number])[] }[];
}

export type Panel = BarPanel | LinePanel;

const WIDTH = 860;
const MARGIN = 28;
const TITLE_HEIGHT = 34;
const BAR_HEIGHT = 18;
const BAR_PITCH = 30;
const LABEL_WIDTH = 180;
/** The space right of the longest whisker, for a value, its unit and its spread. */
const VALUE_WIDTH = 250;
const PLOT_HEIGHT = 190;
const LINE_HEIGHT = 18;
const AXIS_WIDTH = 70;
const AXIS_HEIGHT = 44;
const PANEL_GAP = 22;
const TICKS = 4;
const COLOURS = ['#0b6bcb', '#c2410c', '#15803d', '#7e22ce'] as const;
const [OURS, TARGET, THEIRS, INK, MUTED, GRID] = [...COLOURS.slice(0, 2), '#9aa5b1', '#1f2933', '#52606d', '#dfe4ea'];

/**
 * Draws panels below one another. The chart has a background of its own, so that it is readable on any page.
 *
 * @returns a well-formed SVG document without scripts or references
 */
export function chart(title: string, panels: readonly Panel[]): string {
  const parts: string[] = [];
  let y = 62;
  for (const panel of panels) {
    const drawn = panel.kind === 'bars' ? bars(panel) : lines(panel);
    parts.push(`<g transform="translate(${MARGIN} ${y})">${drawn.svg}</g>`);
    y += drawn.height + PANEL_GAP;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="${escape(title)}" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="${INK}">
<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${y - 1}" rx="10" fill="#ffffff" stroke="${GRID}"/>
${text(MARGIN, 38, title, 'font-size="18" font-weight="600"')}
${parts.join('\n')}
</svg>
`;
}

interface Drawn {
  svg: string;
  /** In pixels, like all lengths in this file. */
  height: number;
}

function bars({ title, unit, bars: all, mark }: BarPanel): Drawn {
  const longest = Math.max(mark ?? 0, ...all.map(({ value, highest }) => Math.max(value, highest)));
  const scale = (WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH) / longest;
  const rows = all.map(({ label, value, lowest, highest, isOurs }, i) => {
    const top = TITLE_HEIGHT + i * BAR_PITCH;
    const middle = top + BAR_HEIGHT / 2;
    const [from, to] = [LABEL_WIDTH + lowest * scale, LABEL_WIDTH + highest * scale];
    const whisker =
      highest > lowest
        ? `<path d="M${px(from)} ${middle}H${px(to)}M${px(from)} ${middle - 4}v8M${px(to)} ${middle - 4}v8" stroke="${INK}" fill="none"/>`
        : '';
    const spread = highest > lowest ? ` (${readable(lowest)} to ${readable(highest)})` : '';
    const weight = isOurs ? 'font-weight="600"' : '';
    return [
      text(LABEL_WIDTH - 10, middle + 4.5, label, `text-anchor="end" ${weight}`),
      `<rect x="${LABEL_WIDTH}" y="${top}" width="${px(Math.max(1, value * scale))}" height="${BAR_HEIGHT}" rx="2" fill="${isOurs ? OURS : THEIRS}"/>`,
      whisker,
      text(
        // Placed right of the mark, because its line would cross the text.
        LABEL_WIDTH + Math.max(value, highest, mark ?? 0) * scale + 10,
        middle + 4.5,
        `${readable(value)} ${unit}${spread}`,
        weight,
      ),
    ].join('');
  });
  const height = TITLE_HEIGHT + all.length * BAR_PITCH;
  const line =
    mark === undefined
      ? ''
      : `<path d="M${px(LABEL_WIDTH + mark * scale)} ${TITLE_HEIGHT - 6}V${height - 6}" stroke="${TARGET}" stroke-dasharray="5 4" fill="none"/>`;
  return { svg: heading(title) + rows.join('\n') + line, height };
}

function lines({ title, xUnit, yUnit, lines: all }: LinePanel): Drawn {
  const points = all.flatMap((line) => line.points);
  const xStep = niceStep(Math.max(...points.map(([x]) => x)));
  const yStep = niceStep(Math.max(...points.map(([, y]) => y)));
  const width = WIDTH - 2 * MARGIN - AXIS_WIDTH - LABEL_WIDTH;
  const bottom = TITLE_HEIGHT + PLOT_HEIGHT;
  const at = (x: number, y: number) =>
    [AXIS_WIDTH + (x / (xStep * TICKS)) * width, bottom - (y / (yStep * TICKS)) * PLOT_HEIGHT] as const;
  const ticks = Array.from({ length: TICKS + 1 }, (_, i) => {
    const [x] = at(i * xStep, 0);
    const [, y] = at(0, i * yStep);
    return [
      `<path d="M${AXIS_WIDTH} ${px(y)}h${width}" stroke="${GRID}" fill="none"/>`,
      text(AXIS_WIDTH - 8, y + 4.5, tickText(i * yStep), `text-anchor="end" fill="${MUTED}"`),
      text(x, bottom + 18, tickText(i * xStep), `text-anchor="middle" fill="${MUTED}"`),
    ].join('');
  });
  const ends = all.map((line) => at(...(line.points.at(-1) ?? ([0, 0] as const))));
  const labelsY = apart(ends.map(([, y]) => y));
  const curves = all.map(({ label, points: own }, i) => {
    const path = own.map(([x, y]) => at(x, y).map(px).join(' ')).join('L');
    const colour = COLOURS[i % COLOURS.length];
    const labelAt = [(ends[i]?.[0] ?? 0) + 8, (labelsY[i] ?? 0) + 4.5] as const;
    return `<path d="M${path}" stroke="${colour}" stroke-width="2" fill="none" stroke-linejoin="round"/>${text(...labelAt, label, `fill="${colour}" font-weight="600"`)}`;
  });
  const units = text(AXIS_WIDTH + width, bottom + 36, xUnit, `text-anchor="end" fill="${MUTED}"`);
  return {
    svg: heading(`${title}, ${yUnit}`) + ticks.join('\n') + curves.join('\n') + units,
    height: bottom + AXIS_HEIGHT,
  };
}

/** Moves heights up until there is space for a line of text at each. */
function apart(heights: readonly number[]): number[] {
  const moved = [...heights];
  const fromBelow = heights.map((_, i) => i).sort((a, b) => (heights[b] ?? 0) - (heights[a] ?? 0));
  let ceiling = Infinity;
  for (const i of fromBelow) {
    moved[i] = Math.min(heights[i] ?? 0, ceiling);
    ceiling = (moved[i] ?? 0) - LINE_HEIGHT;
  }
  return moved;
}

/** The smallest step of 1, 2, 2.5 or 5 times a power of ten such that four steps reach `top`. */
function niceStep(top: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(top, 1e-9) / TICKS));
  return power * ([1, 2, 2.5, 5].find((factor) => factor * power * TICKS >= top) ?? 10);
}

const tickText = (value: number) => value.toLocaleString('en', { maximumFractionDigits: 2 });
const px = (length: number) => String(Math.round(length * 10) / 10);
const heading = (title: string) => text(0, 18, title, 'font-size="14" font-weight="600"');
const text = (x: number, y: number, content: string, attributes = '') =>
  `<text x="${px(x)}" y="${px(y)}" ${attributes}>${escape(content)}</text>`;
const escape = (content: string) =>
  content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
