import type { Attempt } from './attempts.js';
import type { Line } from './diagram.js';

/** Colours have a meaning: `bad` is a loss, a failure or a difference, `warn` is a frozen process. */
export type Tone = 'plain' | 'bad' | 'warn' | 'quiet';

export interface Label {
  text: string;
  tone: Tone;
}

const SHOWN_DIGITS = 8;

/** A short form of an id: its prefix and its last digits. Every other text is returned as it is. */
export function shortened(text: string): string {
  const [prefix] = /^[a-z]+_(?=[0-9a-f]{12})/.exec(text) ?? [''];
  const isId = /^([a-z]+_)?[0-9a-f]{8}[0-9a-f-]{8,}/.test(text);
  if (text.startsWith('none_')) return 'none';
  // The last digits, because the first ones are the time and so are often equal.
  return isId ? `${prefix}…${text.slice(-SHOWN_DIGITS)}` : text;
}

/** The text and the tone of a row of the diagram. */
export function labelOf({ kind, events, hops }: Line, attempts: readonly Attempt[]): Label {
  const [event] = events;
  if (!event) return { text: '', tone: 'plain' };
  const many = events.length > 1 ? `${events.length} × ` : '';
  const isLost = hops.some((hop) => hop.isLost);
  const lost = isLost && event.status !== undefined ? ' · lost' : '';
  if (kind === 'note') return { text: many + event.text, tone: 'quiet' };
  if (kind === 'process') return { text: event.text, tone: event.state === 'killed' ? 'bad' : 'warn' };
  if (kind === 'commit') {
    return { text: `${many}${event.text}${isLost ? ' · its answer is lost' : ''}`, tone: isLost ? 'bad' : 'plain' };
  }
  if (event.attempt === undefined) {
    const key = event.kind === 'request' && event.key ? ` · key ${shortened(event.key)}` : '';
    return { text: `${many}${event.text}${key}${lost}`, tone: isLost ? 'bad' : 'plain' };
  }
  const number = events.length > 1 ? many : `#${event.attempt} `;
  const isOneKey = events.every(({ key }) => key === event.key);
  if (event.kind === 'request') {
    return { text: `${number}${event.text}${isOneKey ? ` · ${event.key}` : ''}`, tone: 'plain' };
  }
  const attempt = attempts.find((each) => each.number === event.attempt);
  const { words, tone } = replyWords(attempt, isLost);
  return { text: `${number}${[event.text, ...words].join(' · ')}${lost}`, tone };
}

function replyWords(attempt: Attempt | undefined, isLost: boolean): { words: string[]; tone: Tone } {
  if (isLost) return { words: [], tone: 'bad' };
  const words = attempt?.isReplayed ? ['replayed'] : [];
  switch (attempt?.bytes) {
    case 'first':
      return { words: [...words, 'first reply'], tone: 'plain' };
    case 'same':
      return { words: [...words, 'same bytes'], tone: 'plain' };
    case 'other':
      return { words: [...words, 'other bytes'], tone: 'bad' };
    case undefined:
      return { words, tone: (attempt?.status ?? 0) >= 500 ? 'bad' : 'plain' };
  }
}
