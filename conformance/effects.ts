import { runCommand } from './commands.js';
import { TargetError } from './finding.js';
import type { Answer } from './http/exchange.js';
import { get } from './http/send.js';
import type { Target } from './target.js';

/**
 * The number or the ids of the created resources; `undefined` if the options do not say where to read them.
 *
 * @throws TargetError if the options lead to something else than a number or a list
 */
export async function effectsOf(target: Target): Promise<number | readonly string[] | undefined> {
  const { effects } = target;
  if (!effects) return undefined;
  if ('command' in effects) return countOf(await runCommand('--effects-command', effects.command));
  const answer = await get(target, effects.path);
  const made = memberOf(parse(answer.text), effects.member);
  if (typeof made === 'number') return made;
  // In a reply the id may be nested, such as `data.id`. In a list each element has it directly.
  const name = target.id.split('.').at(-1) ?? '';
  const ids = Array.isArray(made) ? made.map((one: unknown) => nameOf(memberOf(one, name))) : [undefined];
  if (ids.every((id) => id !== undefined)) return ids;
  throw new TargetError(
    `GET ${effects.path} answers ${answer.status} without a number or a list named ${effects.member} whose elements have ${name}: see --effects, --effects-list and --id. The answer is ${answer.text.slice(0, 200)}`,
  );
}

function countOf(output: string): number {
  const text = output.trim();
  if (/^\d+$/.test(text)) return Number(text);
  throw new TargetError(`--effects-command: expected the command to print a number, got ${text.slice(0, 200)}`);
}

/** The id of the created resource; `undefined` if the reply contains none. */
export const idOf = (target: Target, answer: Answer) => nameOf(memberOf(parse(answer.text), target.id));

const nameOf = (id: unknown) => (typeof id === 'string' || typeof id === 'number' ? String(id) : undefined);

/** @param path names of nested members, separated by dots; '' for the value itself */
const memberOf = (value: unknown, path: string): unknown =>
  path
    .split('.')
    .reduce((whole, name) => (name === '' ? whole : (whole as Record<string, unknown> | null)?.[name]), value);

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
