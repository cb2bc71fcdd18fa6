import { html, nothing, type TemplateResult } from './lit-html.js';
import type { Catalogue, LabState } from '../server/messages.js';
import { BY_HAND, type Selection } from './selection.js';

/** The two lists: what runs, and what goes wrong. A mark shows what was seen in this laboratory until now. */
export function chooser(
  { steps, scenarios }: Catalogue,
  selection: Selection,
  results: LabState['results'],
  choose: (selection: Selection) => void,
): TemplateResult {
  const { step, scenario } = selection;
  const title = (label: string, text: string) => html`<b>${label === 'service' ? '★' : label}</b> ${text}`;
  return html`
    <fieldset>
      <legend>1. Choose an implementation</legend>
      <div class="choices">
        ${steps.map((each) =>
          choice(
            'step',
            each.label,
            title(each.label, each.title),
            each.label === step,
            results[`${each.label} ${scenario}`],
            () => choose({ ...selection, step: each.label }),
          ),
        )}
      </div>
    </fieldset>
    <fieldset>
      <legend>2. Choose a failure</legend>
      <div class="choices">
        ${scenarios.map((each) =>
          choice('scenario', each.name, each.title, each.name === scenario, results[`${step} ${each.name}`], () =>
            choose({ ...selection, scenario: each.name }),
          ),
        )}
        ${choice('scenario', BY_HAND, 'Act by hand', scenario === BY_HAND, undefined, () => choose({ ...selection, scenario: BY_HAND }))}
      </div>
    </fieldset>
  `;
}

function choice(
  name: string,
  value: string,
  text: unknown,
  isChosen: boolean,
  held: boolean | undefined,
  choose: () => void,
): TemplateResult {
  const mark = held
    ? html`<span class="mark good" title="held">✓</span>`
    : html`<span class="mark bad" title="broken">✕</span>`;
  return html`<label class="choice">
    <input type="radio" name=${name} value=${value} .checked=${isChosen} @change=${choose} />
    <span>${text}</span>${held === undefined ? nothing : mark}
  </label>`;
}
