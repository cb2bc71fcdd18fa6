import type { Catalogue } from '../server/messages.js';

/** The view: a step and a scenario, as a link names them. */
export interface Selection {
  step: string;
  scenario: string;
}

/** The name of a run in which a person acts, instead of the name of a scenario. */
export const BY_HAND = 'by-hand';

/** The view of a link such as `#step=3&scenario=killed-after-capture`. A name that does not exist is replaced by the first one. */
export function selectionOf(hash: string, { steps, scenarios }: Pick<Catalogue, 'steps' | 'scenarios'>): Selection {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  const named = (name: string, known: readonly string[]) =>
    known.find((each) => each === given.get(name)) ?? known[0] ?? '';
  return {
    step: named(
      'step',
      steps.map(({ label }) => label),
    ),
    scenario: named('scenario', [...scenarios.map(({ name }) => name), BY_HAND]),
  };
}

export const hashOf = ({ step, scenario }: Selection) => `#${new URLSearchParams({ step, scenario })}`;

/**
 * The view to go to next. If the step broke: the same scenario on the next step. If the step held: the first scenario that breaks this step or,
 * if there is none, the next scenario.
 */
export function nextOf(
  { step, scenario }: Selection,
  held: boolean,
  { steps, scenarios }: Catalogue,
): Selection | undefined {
  const position = steps.findIndex(({ label }) => label === step);
  const following = steps[position + 1];
  if (!held) return following && { step: following.label, scenario };
  const breaks = steps[position]?.brokenBy[0];
  if (breaks) return { step, scenario: breaks };
  const names = scenarios.map(({ name }) => name);
  const next = names[names.indexOf(scenario) + 1];
  return next === undefined ? undefined : { step, scenario: next };
}
