import type { Profile } from './profiles.js';
import { type Answer, effectsOf, idOf, type Target } from './target.js';

/** What a check came to. Unknown: it could not be told, since something to tell it by was not given. */
export type Verdict = 'passed' | 'failed' | 'unknown';

export interface Finding {
  readonly id: string;
  readonly title: string;
  readonly verdict: Verdict;
  /** What was seen, in a sentence; of a failure, what was expected as well. */
  readonly detail: string;
}

/** One requirement, tried on a service. */
export interface Check {
  readonly id: string;
  /** What a service that passes does. */
  readonly title: string;
  /** Tries it. What it throws as a {@link Failure} is a failure; as {@link Unknown}, not to be told. */
  readonly run: (target: Target, profile: Profile) => Promise<string>;
}

/** The service does something else. */
export class Failure extends Error {}

/** Nothing to tell it by. */
export class Unknown extends Error {}

export function expect(holds: boolean, text: string): asserts holds {
  if (!holds) throw new Failure(text);
}

/** @throws Failure when an answer is no success */
export function expectSuccess(target: Target, answer: Answer, what: string): void {
  expect(
    target.success.includes(answer.status),
    `expected ${what} to be answered with ${target.success.join(' or ')}, got ${answer.status}: ${answer.text.slice(0, 200)}`,
  );
}

/** Headers that belong to a reply, as against to one delivery of it. */
const OF_THE_REPLY = ['content-type', 'etag', 'location'];

/** @throws Failure when an answer differs from the first in what must be the same */
export function expectSame(first: Answer, other: Answer, what: string): void {
  expect(
    other.status === first.status,
    `expected ${what} to have the first status, ${first.status}, got ${other.status}`,
  );
  expect(
    other.text === first.text,
    `expected ${what} to have the bytes of the first reply, ${first.text.slice(0, 120)}, got ${other.text.slice(0, 120)}`,
  );
  for (const name of OF_THE_REPLY) {
    expect(other.headers[name] === first.headers[name], `expected ${what} to have the ${name} of the first reply`);
  }
}

/** @throws Unknown when an answer, a success, names nothing */
export function expectId(target: Target, answer: Answer): string {
  const id = idOf(target, answer);
  if (id === undefined) throw new Unknown(`a reply has no ${target.id} that names what was made: see --id`);
  return id;
}

/**
 * Counts what was made in the meantime: by the list or number of the service where there is one, else by the ids that its replies
 * name, which cannot see what nobody was told of.
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

  /** @throws Failure when there are more or fewer */
  async expect(count: number, answers: readonly Answer[], what: string): Promise<string> {
    const found = await this.since(answers);
    const how = this.isExact ? 'as it says itself' : 'by the ids in its replies';
    expect(found === count, `expected ${what} to make ${count}, but ${how} it made ${found}`);
    return `${found} made, ${how}`;
  }
}
