import { json } from './json.js';
import { junit } from './junit.js';
import type { Format } from './report.js';
import { tap } from './tap.js';
import { text } from './text.js';

export const FORMATS = { text, json, junit, tap } as const satisfies Record<string, Format>;

export type FormatName = keyof typeof FORMATS;
