import { html, nothing, type TemplateResult } from './lit-html.js';
import type { Catalogue, Command, LabState } from '../server/messages.js';
import type { ActionName } from '../world/actions.js';
import type { ReplicaName } from '../world/events.js';
import { BY_HAND, nextOf, type Selection } from './selection.js';

export interface Doings {
  /** Whether a run has been asked for whose state is not known yet. */
  isWaiting: boolean;
  send: (command: Command) => void;
  choose: (selection: Selection) => void;
  copyLink: () => void;
  copyCurl: () => void;
}

const IN_PROGRESS: readonly LabState['phase'][] = ['starting', 'preparing', 'running'];

/** The story of the view, the button that starts it, and the verdict. `state` is the state of this view's run, if it has one. */
export function stage(
  catalogue: Catalogue,
  selection: Selection,
  lab: LabState | undefined,
  state: LabState | undefined,
  notice: string,
  doings: Doings,
): TemplateResult {
  const step = catalogue.steps.find(({ label }) => label === selection.step);
  const scenario = catalogue.scenarios.find(({ name }) => name === selection.scenario);
  const isBusy = doings.isWaiting || !lab || IN_PROGRESS.includes(lab.phase);
  const isByHand = state?.phase === 'by-hand';
  const play = () => doings.send({ kind: 'play', ...selection });
  return html`
    <p class="on">${selection.step === 'service' ? '' : `Step ${selection.step} · `}${step?.title}</p>
    <h1>${scenario?.title ?? 'Act by hand'}</h1>
    <p class="story">${scenario?.story ?? 'Send requests, break things, and see what the rows become.'}</p>
    <div class="actions">
      <button class=${state ? 'run again' : 'run'} ?disabled=${isBusy} @click=${play}>
        ${runWords(lab, state, selection)}
      </button>
      ${state && state.phase !== 'preparing' ? html`<button @click=${doings.copyCurl}>Copy as curl</button>` : nothing}
      <button @click=${doings.copyLink}>Copy link</button>
      <span class="notice" role="status">${notice}</span>
    </div>
    ${isByHand && state ? handles(state, doings) : nothing} ${verdict(catalogue, selection, state, doings.choose)}
  `;
}

function runWords(lab: LabState | undefined, state: LabState | undefined, { scenario }: Selection): string {
  if (!lab || lab.phase === 'starting') return 'The laboratory is starting …';
  if (state?.phase === 'preparing') return 'Starting the replicas …';
  if (state?.phase === 'running') return 'It is happening …';
  if (IN_PROGRESS.includes(lab.phase)) return 'Another run has not ended …';
  if (scenario === BY_HAND) return state ? 'Start again on empty tables' : 'Start';
  return state ? 'Run again' : 'Run this failure';
}

function verdict(
  catalogue: Catalogue,
  selection: Selection,
  state: LabState | undefined,
  choose: Doings['choose'],
): TemplateResult {
  const box = (kind: string, content: unknown) =>
    html`<div class="verdict ${kind}" role="status" aria-live="polite">${content}</div>`;
  if (state?.phase === 'failed' || state?.problem)
    return box(
      'bad',
      html`<h2>The laboratory has a problem</h2>
        <pre>${state.problem}</pre>`,
    );
  if (!state?.verdict) return box('open', openWords(state));
  const { held, sentence, brokenInvariant, captures, charges } = state.verdict;
  const next = selection.scenario === BY_HAND ? undefined : nextOf(selection, held, catalogue);
  return box(
    held ? 'good' : 'bad',
    html`
      <h2 data-held=${held} data-captures=${captures} data-charges=${charges}>${sentence}</h2>
      <p>
        ${held ? 'Every rule held.' : html`<b>Broken rule:</b> ${catalogue.invariants[brokenInvariant ?? '']}`}
        ${next ? html`<button class="next" @click=${() => choose(next)}>${nextWords(catalogue, selection, next)} →</button>` : nothing}
      </p>
    `,
  );
}

function openWords(state: LabState | undefined): string {
  if (!state) return 'Press the button: real processes get real requests, and the verdict comes from the rows.';
  if (state.phase === 'preparing') return 'Both replicas start with empty tables.';
  if (state.phase !== 'by-hand') return 'It is happening. The verdict comes when nothing moves any more.';
  return state.unfinished
    ? 'Not finished yet. Send again, wake or start a replica, or let the lease end.'
    : 'Nothing to judge yet.';
}

function nextWords({ scenarios }: Catalogue, { step }: Selection, next: Selection): string {
  if (next.step !== step)
    return next.step === 'service' ? 'Try the service as it is' : `Does step ${next.step} survive this?`;
  return `Next: ${scenarios.find(({ name }) => name === next.scenario)?.title}`;
}

/** The buttons of a person who acts by hand. */
function handles({ replicas }: LabState, { send, isWaiting }: Doings): TemplateResult {
  const button = (text: string, action: ActionName, replica: ReplicaName = 'A', isOff = false) =>
    html`<button ?disabled=${isOff || isWaiting} @click=${() => send({ kind: 'act', action, replica })}>
      ${text}
    </button>`;
  const ofReplica = (name: ReplicaName) => {
    const [isUp, isFrozen] = [replicas[name] === 'running', replicas[name] === 'frozen'];
    const isDown = replicas[name] === 'killed' || replicas[name] === 'failed';
    return html`<div role="group" aria-label="Replica ${name}">
      <b>Replica ${name}</b>
      ${button('Send', 'send', name)} ${button('Send again', 'send-again', name)}
      ${isDown ? button('Start', 'start', name) : button('Kill', 'kill', name, !isUp && !isFrozen)}
      ${isFrozen ? button('Wake', 'wake', name) : button('Freeze', 'freeze', name, !isUp)}
      ${button('Lose its COMMIT’s answer', 'lose-commit-answer', name)}
    </div>`;
  };
  return html`<div class="handles">
    ${ofReplica('A')} ${ofReplica('B')}
    <div role="group" aria-label="Everything else">
      <b>The rest</b>
      ${button('Send ten at once', 'send-ten')} ${button('Lose the next reply', 'lose-reply')}
      ${button('Slow bank', 'hold-bank')} ${button('Bank answers again', 'release-bank')}
      ${button("Lose the bank's answer", 'lose-bank-answer')} ${button('Let the lease end', 'end-leases')}
    </div>
  </div>`;
}
