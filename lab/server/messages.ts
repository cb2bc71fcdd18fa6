import type { ActionName } from '../world/actions.js';
import type { LabEvent, ReplicaName } from '../world/events.js';
import type { ReplicaState } from '../world/replica.js';
import type { Rows } from '../world/rows.js';
import type { Verdict } from '../world/verdict.js';

/** A command of the page. `step` is the label of an implementation. */
export type Command =
  { kind: 'play'; step: string; scenario: string } | { kind: 'act'; action: ActionName; replica: ReplicaName };

/**
 * - `starting`: the laboratory itself starts. `ready`: nothing has run yet.
 * - `preparing`: replicas start, and tables are emptied.
 * - `running`: the scenario is played.
 * - `by-hand`: a person acts.
 * - `finished`: there is a verdict.
 * - `failed`: something that is not a fault of the scenario went wrong.
 */
export type Phase = 'starting' | 'ready' | 'preparing' | 'running' | 'by-hand' | 'finished' | 'failed';

export interface LabState {
  phase: Phase;
  /** Counts the runs. 0 before the first run. */
  runNumber: number;
  /** The label of the implementation that runs. */
  step: string;
  /** The name of the scenario, or `by-hand`. */
  scenario: string;
  /** The lease of a claim. */
  leaseSeconds: number;
  /** The id of the first event of this run. */
  since: number;
  verdict?: Verdict;
  /** Number of unfinished charges and keys, in a run by hand. */
  unfinished?: number;
  /** The error, if something that is not a fault of the scenario went wrong. */
  problem?: string;
  replicas: Record<ReplicaName, ReplicaState>;
  /** The address of the proxy, for requests from elsewhere. */
  proxyUrl: string;
  /** Whether the last run of a step and scenario held, by `<step> <scenario>`. */
  results: Record<string, boolean>;
}

/** The answer to a command: the number of the run that the command has begun, or in which it acts. */
export type Accepted = Pick<LabState, 'runNumber'>;

/** A message of the event stream: everything that has changed since the message before. */
export interface Update {
  state?: LabState;
  rows?: Rows;
  events: LabEvent[];
}

/** Everything that a page can choose. It does not change while the laboratory runs. */
export interface Catalogue {
  steps: {
    label: string;
    title: string;
    source: string;
    code: string;
    /** The names of the scenarios that break it, as docs/ladder.md says. */
    brokenBy: string[];
    /** Numbers of the lines that decide a scenario, from 1, by the name of the scenario. */
    marks: Record<string, number[]>;
  }[];
  scenarios: { name: string; title: string; story: string }[];
  /** The rules that a verdict names. */
  invariants: Record<string, string>;
}
