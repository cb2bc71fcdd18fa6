import { expected, UsageError } from '../../harness/options.js';

/** Readers of single values. Each throws a UsageError that says what was expected. */

/** The longest time that a timer can wait. */
export const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const MAX_SECONDS = 86_400;

const isService = (text: string) =>
  /^https?:\/\//.test(text) && URL.canParse(text) && new URL(text).href === `${new URL(text).origin}/`;

export const service = (option: string, text: string) =>
  expected(option, text, isService(text), 'http://… or https://… without a path');

export const token = (option: string, text: string, what: string) =>
  expected(option, text, /^[\w-]+$/.test(text), what);

export const path = (option: string, text: string) =>
  expected(option, text, text.startsWith('/') && !text.startsWith('//'), 'a path such as /charges');

export function seconds(option: string, text: string): number {
  const isValid = /^\d+(\.\d+)?$/.test(text) && Number(text) > 0 && Number(text) <= MAX_SECONDS;
  return Number(expected(option, text, isValid, `a number of seconds up to ${MAX_SECONDS}`));
}

export function header(option: string, line: string): [name: string, value: string] {
  const [, name, value] = /^([\w-]+): *([\t\x20-\x7e]*)$/.exec(line) ?? [];
  // The error does not contain the line, because the value may be a secret.
  if (name === undefined || value === undefined) throw new UsageError(`${option}: expected 'Name: value', in ASCII`);
  return [name, value];
}

export function statuses(option: string, text: string): number[] {
  const all = text.split(',').map(Number);
  const areValid = all.every((status) => Number.isInteger(status) && status >= 200 && status < 600);
  expected(option, text, areValid, 'statuses such as 200,201');
  return all;
}

/** @param contentType undefined for JSON */
export function body(option: string, text: string, contentType: string | undefined): string {
  if (text === '' || (contentType !== undefined && !/json/i.test(contentType))) return text;
  try {
    JSON.parse(text);
    return text;
  } catch {
    throw new UsageError(`${option} ${text}: expected JSON, because --header names no other Content-Type`);
  }
}

/** @param known the names that may be used */
export function names(option: string, text: string, known: readonly string[]): string[] {
  const all = text.split(',').map((name) => name.trim());
  for (const name of all) expected(option, name, known.includes(name), `names of checks: ${known.join(', ')}`);
  return all;
}
