import { effectsOf, idOf } from './effects.js';
import { evidenceOf, expect, Failure, Undecided } from './finding.js';
import type { Answer } from './http/exchange.js';
import type { Subject } from './subject.js';
import { isSuccess, successText, type Target } from './target.js';

/** The status and the beginning of the body. */
export const shown = ({ status, text }: Answer) => `${status}: ${text.slice(0, 200)}`;

export const statusesText = (statuses: readonly number[]) => statuses.join(' or ');

/** @throws Failure if the answer is not a success, or lacks the id that a reply contains */
export function expectSuccess({ target, repliesHaveIds }: Subject, answer: Answer, what: string): void {
  expect(
    isSuccess(target, answer.status),
    'broken rule',
    `expected ${what} to be answered with ${successText(target)}, got ${shown(answer)}`,
    answer,
  );
  expect(
    !repliesHaveIds || idOf(target, answer) !== undefined,
    'wrong reply',
    `expected the reply to ${what} to contain ${target.id}, as the first reply did, got ${shown(answer)}`,
    answer,
  );
}

/** Headers that are part of a reply. All others, such as Date, belong to one delivery of the reply. */
const OF_THE_REPLY = ['content-type', 'etag', 'location'];

export const isSame = (first: Answer, other: Answer) => other.status === first.status && other.text === first.text;

/** @throws Failure if the status, the body or a header of the reply differs from the first answer */
export function expectSame(first: Answer, other: Answer, what: string): void {
  expect(
    other.status === first.status,
    'wrong reply',
    `expected ${what} to have the status of the first reply, ${first.status}, got ${shown(other)}`,
    other,
  );
  expect(
    other.text === first.text,
    'wrong reply',
    `expected ${what} to have the bytes of the first reply, ${first.text.slice(0, 200)}, got ${other.text.slice(0, 200)}`,
    other,
  );
  for (const name of OF_THE_REPLY) {
    const [wanted, got] = [first.headers[name], other.headers[name]];
    expect(
      got === wanted,
      'wrong reply',
      `expected ${what} to have the ${name} of the first reply, ${String(wanted)}, got ${String(got)}`,
      other,
    );
  }
}

/** @throws Undecided if the reply contains no id */
export function expectId(target: Target, answer: Answer): string {
  const id = idOf(target, answer);
  if (id === undefined)
    throw new Undecided(`a reply has no ${target.id} with the id of the created resource: see --id`);
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

  static async from({ target }: Pick<Subject, 'target'>): Promise<EffectCount> {
    return new EffectCount(target, await effectsOf(target));
  }

  get isExact(): boolean {
    return this.before !== undefined;
  }

  /**
   * The number of requests that have had an effect. It is a fraction if a request has had a part of its effects.
   *
   * @param answers their ids are counted if there is nothing else to count
   * @throws Undecided if there is nothing to count
   */
  async since(answers: readonly Answer[]): Promise<number> {
    const { before, target } = this;
    const now = await effectsOf(target);
    if (now === undefined) {
      const ids = answers.map((answer) => idOf(target, answer)).filter((id) => id !== undefined);
      if (ids.length === 0)
        throw new Undecided(`no reply has ${target.id} with the id of the created resource: see --id and --effects`);
      return new Set(ids).size;
    }
    const made =
      typeof now === 'number'
        ? now - Number(before)
        : now.filter((id) => !(before as readonly string[]).includes(id)).length;
    return made / target.effectsPerRequest;
  }

  /**
   * Returns how many effects there were.
   *
   * @param evidence the answer that shows the failure; default: the last answer
   * @throws Failure if there were more or fewer than expected
   */
  async expect(count: number, answers: readonly Answer[], what: string, evidence = answers.at(-1)): Promise<string> {
    const found = await this.since(answers);
    const how = this.isExact ? 'as --effects counts them' : 'according to the ids in the replies';
    if (found !== count)
      throw new Failure(
        found > count ? 'double effect' : 'lost effect',
        `expected ${count} ${count === 1 ? 'effect' : 'effects'} of ${what}, got ${found} ${how}`,
        evidence && evidenceOf(evidence),
      );
    return `effects: ${found}, ${how}`;
  }

  /**
   * Looks for a double effect before the replies are compared, because a double effect is worse than a different reply. Does nothing if
   * there is nothing to count.
   *
   * @throws Failure if there were more effects than expected
   */
  async expectNoMore(count: number, answers: readonly Answer[], what: string): Promise<void> {
    if (!this.isExact && answers.every((answer) => idOf(this.target, answer) === undefined)) return;
    if ((await this.since(answers)) > count) await this.expect(count, answers, what);
  }
}
