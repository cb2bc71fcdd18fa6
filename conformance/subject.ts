import type { Profile } from './profiles.js';
import type { Target } from './target.js';

/** The service under check, and what the first request has shown about it. */
export interface Subject {
  readonly target: Target;
  readonly profile: Profile;
  /** Whether the first reply contained an id. Then every other reply must contain one too. */
  readonly repliesHaveIds: boolean;
  /** Reports the step that begins, for checks that take long. */
  readonly progress: (step: string) => void;
}

/** Checks one requirement. */
export interface Check {
  readonly id: string;
  /** The requirement. */
  readonly title: string;
  /** Returns what was observed. Throws a {@link Failure}, {@link Undecided} or {@link Skipped} if the service does not pass. */
  readonly run: (subject: Subject) => Promise<string>;
}
