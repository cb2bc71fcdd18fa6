import type { Profile } from './profiles.js';
import { type Answer, effectsOf, idOf, type Target } from './target.js';

/** The result of a check. It is unknown if the profile or the options lack something that the check needs. */
export type Verdict = 'passed' | 'failed' | 'unknown';

export interface Finding {
  readonly id: string;
  readonly title: string;
  readonly verdict: Verdict;
  /** One sentence that says what was observed, and for a failure also what was expected. */
  readonly detail: string;
}

/** Checks one requirement. */
export interface Check {
  readonly id: string;
  /** The requirement. */
  readonly title: string;
  /** Returns what was observed. Throws a {@link Failure} or {@link Unknown} if the service does not pass. */
  readonly run: (target: Target, profile: Profile) => Promise<string>;
}

/** The service does not meet the requirement. */
export class Failure extends Error {}

/** The requirement cannot be checked, because something is missing. */
export class Unknown extends Error {}

export function expect(holds: boolean, text: string): asserts holds {
  if (!holds) throw new Failure(text);
}

/** @throws Failure if the answer is not a success */
export function expectSuccess(target: Target, answer: Answer, what: string): void {
  expect(
    target.success.includes(answer.status),
    `expected ${what} to be answered with ${target.success.join(' or ')}, got ${answer.status}: ${answer.text.slice(0, 200)}`,
  );
}

/** Headers that are part of a reply. All others, such as Date, belong to one delivery of the reply. */
const OF_THE_REPLY = ['content-type', 'etag', 'location'];

/** @throws Failure if the status, the body or a header of the reply differs from the first answer */
export function expectSame(first: Answer, other: Answer, what: string): void {
  expect(
    other.status === first.status,
    `expected ${what} to have the status of the first reply, ${first.status}, got ${other.status}`,
  );
  expect(
    other.text === first.text,
    `expected ${what} to have the bytes of the first reply, ${first.text.slice(0, 120)}, got ${other.text.slice(0, 120)}`,
  );
  for (const name of OF_THE_REPLY) {
    expect(other.headers[name] === first.headers[name], `expected ${what} to have the ${name} of the first reply`);
  }
}

/** @throws Unknown if the reply contains no id */
export function expectId(target: Target, answer: Answer): string {
  const id = idOf(target, answer);
  if (id === undefined) throw new Unknown(`a reply has no ${target.id} with the id of the created resource: see --id`);
  return id;
}

/**
 * Counts the effects of a check, by the list or number that the service provides. Without one it counts the ids in the replies, which
 * cannot show an effect that no reply mentions.
 */
export class EffectCount {
  private constructor(
    private readonly target: Target,
    private readonly before: number | readonly string[] | undefined,
  ) {}

  static async from(target: Target): Promise<EffectCount> {
    return new EffectCount(target, await effectsOf(target));
  }

  get isExact(): boolean {
    return this.before !== undefined;
  }

  private async since(answers: readonly Answer[]): Promise<number> {
    const { before, target } = this;
    const now = await effectsOf(target);
    if (typeof now === 'number') return now - Number(before);
    if (now) return now.filter((id) => !(before as readonly string[]).includes(id)).length;
    return new Set(answers.map((answer) => expectId(target, answer))).size;
  }

  /**
   * Returns how many effects there were.
   *
   * @throws Failure if there were more or fewer than expected
   */
  async expect(count: number, answers: readonly Answer[], what: string): Promise<string> {
    const found = await this.since(answers);
    const how = this.isExact ? 'according to the list of effects' : 'according to the ids in the replies';
    expect(found === count, `expected ${count} effects of ${what}, got ${found} ${how}`);
    return `effects: ${found}, ${how}`;
  }
}
