import type { Answer, SentRequest } from './http/exchange.js';

/**
 * The result of a check. `undecided`: the check ran, and its observations do not allow a verdict. `skipped`: the profile has no such rule, or
 * an option that the check needs was not given.
 */
export type Verdict = 'passed' | 'failed' | 'undecided' | 'skipped';

/** The harm that a failure does to the clients of the service, the worst first. */
export type Harm = 'double effect' | 'lost effect' | 'wrong reply' | 'stuck key' | 'broken rule';

/** A request, and its answer if there was one. */
export interface Evidence {
  readonly request: SentRequest;
  readonly answer?: Answer;
}

export interface Finding {
  readonly id: string;
  readonly title: string;
  readonly verdict: Verdict;
  /** Only for a failure. */
  readonly harm?: Harm;
  /** One sentence that says what was observed, and for a failure also what was expected. */
  readonly detail: string;
  /** Only for a failure: the request that shows it, or the last request if the number of effects shows it. */
  readonly evidence?: Evidence;
  readonly durationMs: number;
}

/** The service does not meet the requirement. */
export class Failure extends Error {
  constructor(
    readonly harm: Harm,
    text: string,
    readonly evidence: Evidence | undefined,
  ) {
    super(text);
  }
}

/** The observations do not allow a verdict. */
export class Undecided extends Error {}

/** The profile has no such rule, or an option was not given. */
export class Skipped extends Error {}

/** The service cannot be checked, because it refuses a valid request or does not count its effects as the options say. */
export class TargetError extends Error {}

export const evidenceOf = (answer: Answer): Evidence => ({ request: answer.request, answer });

/** @throws Failure if the condition does not hold */
export function expect(holds: boolean, harm: Harm, text: string, answer: Answer): asserts holds {
  if (!holds) throw new Failure(harm, text, evidenceOf(answer));
}
