import type { HistoryEvent } from './history.js';
import { lostAnswers } from './lost-answers.js';

const WIDTH = 860;
const MARGIN = 28;
const LABEL_WIDTH = 220;
const PLOT_TOP = 100;
const PLOT_HEIGHT = 150;
const ROW_HEIGHT = 22;
const LEGEND_WIDTH = 190;
const ROWS_TOP = PLOT_TOP + PLOT_HEIGHT + 34;
/** The largest number of marks per second. More marks would only look like a bar. */
const MARKS_PER_SECOND = 2;
const [INK, MUTED, GRID] = ['#1f2933', '#52606d', '#dfe4ea'];
const OUTCOMES = { ok: '#0b6bcb', fail: '#9aa5b1', info: '#c2410c', lost: '#a21caf' } as const;
const MEANINGS = {
  ok: 'ok, a final answer',
  fail: 'fail, nothing was started',
  info: 'info, not known',
  lost: 'lost, although it was ok',
} as const;
type OutcomeType = keyof typeof OUTCOMES;

/**
 * Draws how the attempts of each second ended, and below that the times at which faults of each kind landed.
 *
 * @returns a well-formed SVG document without scripts or references
 */
export function timeline(title: string, history: readonly HistoryEvent[], kinds: readonly string[]): string {
  const startedAt = history.find(({ type }) => type === 'phase')?.at ?? 0;
  const secondOf = ({ at }: HistoryEvent) => (at - startedAt) / 1000;
  const seconds = Math.max(1, Math.ceil(secondOf(history.at(-1) as HistoryEvent)));
  const width = WIDTH - 2 * MARGIN - LABEL_WIDTH;
  const x = (second: number) => MARGIN + LABEL_WIDTH + (second / seconds) * width;

  const lost = lostAnswers(history);
  const counts = Array.from({ length: seconds }, () => ({ ok: 0, fail: 0, info: 0, lost: 0 }));
  for (const event of history) {
    const count = counts[Math.floor(secondOf(event))];
    if (count && 'attempt' in event && event.type !== 'invoke') count[lost.has(event.attempt) ? 'lost' : event.type]++;
  }
  const most = Math.max(1, ...counts.map((count) => Object.values(count).reduce((sum, each) => sum + each)));
  const types = (Object.keys(OUTCOMES) as OutcomeType[]).filter((type) => type !== 'lost' || lost.size > 0);
  const bars = counts.flatMap((count, second) => {
    let y = PLOT_TOP + PLOT_HEIGHT;
    return types.map((type) => {
      const height = (count[type] / most) * PLOT_HEIGHT;
      y -= height;
      return `<rect x="${px(x(second))}" y="${px(y)}" width="${px(width / seconds)}" height="${px(height)}" fill="${OUTCOMES[type]}"/>`;
    });
  });

  const rows = kinds.map((kind, i) => {
    const y = ROWS_TOP + i * ROW_HEIGHT;
    const landed = history.flatMap((event) =>
      event.type === 'fault' && event.kind === kind && event.state === 'landed' ? [secondOf(event)] : [],
    );
    const places = new Set(landed.map((second) => Math.round(second * MARKS_PER_SECOND) / MARKS_PER_SECOND));
    const marks = [...places].map((at) => `<circle cx="${px(x(at))}" cy="${y}" r="3.5" fill="${INK}"/>`);
    const line = `<path d="M${MARGIN + LABEL_WIDTH} ${y}h${width}" stroke="${GRID}"/>`;
    return line + text(MARGIN + LABEL_WIDTH - 12, y + 4.5, kind, 'text-anchor="end"') + marks.join('');
  });
  const bottom = ROWS_TOP + kinds.length * ROW_HEIGHT;
  const phases = history
    .filter(({ type }) => type === 'phase')
    .flatMap((event, i) =>
      event.type === 'phase' && event.name !== 'end'
        ? [
            `<path d="M${px(x(secondOf(event)))} ${PLOT_TOP - 26}V${bottom - 8}" stroke="${MUTED}" stroke-dasharray="3 3"/>` +
              text(x(secondOf(event)) + 4, PLOT_TOP - (i % 2 ? 17 : 5), event.name, `fill="${MUTED}" font-size="12"`),
          ]
        : [],
    );
  const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600].find((each) => seconds / each <= 10) ?? 7_200;
  const ticks = Array.from({ length: Math.floor(seconds / step) + 1 }, (_, i) =>
    text(x(i * step), bottom + 12, `${i * step} s`, `text-anchor="middle" fill="${MUTED}"`),
  );
  const legend = types.map((type, i) => {
    const left = MARGIN + i * LEGEND_WIDTH;
    return `<rect x="${left}" y="52" width="12" height="12" fill="${OUTCOMES[type]}"/>${text(left + 18, 62, MEANINGS[type])}`;
  });
  const scale = text(
    MARGIN + LABEL_WIDTH - 12,
    PLOT_TOP + 10,
    `${most} attempts/s`,
    `text-anchor="end" fill="${MUTED}"`,
  );
  const height = bottom + 28;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(title)}" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13" fill="${INK}">
<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="10" fill="#ffffff" stroke="${GRID}"/>
${text(MARGIN, 34, title, 'font-size="16" font-weight="600"')}
${[...legend, scale, ...bars, ...rows, ...phases, ...ticks].join('\n')}
</svg>
`;
}

const px = (value: number) => String(Math.round(value * 10) / 10);
const text = (x: number, y: number, content: string, attributes = '') =>
  `<text x="${px(x)}" y="${px(y)}" ${attributes}>${escape(content)}</text>`;
const escape = (content: string) => content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
