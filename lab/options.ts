import { oneOf, parseOptions } from '../harness/options.js';

export interface Options {
  /** The labels of the steps to run; all if empty. */
  readonly steps: readonly string[];
  /** The names of the scenarios to play; all if empty. */
  readonly scenarios: readonly string[];
  readonly isCheck: boolean;
}

export const usageOf = (steps: readonly string[], scenarios: readonly string[]) => `Usage: npm run ladder [-- options]

Plays every scenario on every step of the ladder and on the service, with real processes and real faults, and prints for each what the bank and
the database hold. A complete run writes the matrix of docs/ladder.md.

  --step NAME       only this step; may be repeated: ${steps.join(', ')}
  --scenario NAME   only this scenario; may be repeated: ${scenarios.join(', ')}
  --check           write nothing, and fail if the matrix in docs/ladder.md is another one

Exit code: 0 after a complete run, 1 if --check has found a difference or the service has broken, 2 if the run has failed.
`;

/** @throws UsageError if the command line cannot be used */
export function readOptions(args: string[], steps: readonly string[], scenarios: readonly string[]): Options {
  const { values } = parseOptions({
    args,
    options: {
      step: { type: 'string', multiple: true, default: [] },
      scenario: { type: 'string', multiple: true, default: [] },
      check: { type: 'boolean', default: false },
    },
  });
  return {
    steps: values.step.map((name) => oneOf('--step', name, steps)),
    scenarios: values.scenario.map((name) => oneOf('--scenario', name, scenarios)),
    isCheck: values.check,
  };
}
