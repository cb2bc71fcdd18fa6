import { html, render } from './lit-html.js';
import type { Accepted, Catalogue, Command, LabState, Update } from '../server/messages.js';
import type { LabEvent } from '../world/events.js';
import type { Rows } from '../world/rows.js';
import { attemptsOf } from './attempts.js';
import { Changes } from './changes.js';
import { chooser } from './chooser.js';
import { codePane } from './code.js';
import { curlOf } from './curl.js';
import { hashOf, type Selection, selectionOf } from './selection.js';
import { stage } from './stage.js';
import { attemptTable, tables } from './tables.js';
import { timeline } from './timeline.js';

const NOTICE_MS = 2_500;
/** Highlights fade by themselves, so the page is drawn from time to time although nothing has happened. */
const REDRAW_MS = 500;

const place = document.getElementById('page') as HTMLElement;
place.replaceChildren();
const catalogue = (await (await fetch('/catalogue')).json()) as Catalogue;
const changes = new Changes();

let lab: LabState | undefined;
let events: LabEvent[] = [];
let rows: Rows | undefined;
/** The run that this page has asked for. The number is infinite until the laboratory has answered. */
let askedRun = 0;
let isConnected = true;
let notice = '';
let selection: Selection = selectionOf(location.hash, catalogue);

function choose(chosen: Selection): void {
  selection = chosen;
  history.replaceState(undefined, '', hashOf(chosen));
  draw();
  reveal();
}

/** Scrolls the lists to what is chosen, and the code to the first line that is marked. */
function reveal(): void {
  place.querySelectorAll('.choice:has(:checked)').forEach((chosen) => {
    chosen.scrollIntoView({ block: 'nearest', inline: 'center' });
  });
  const [code, marked] = [place.querySelector('.source'), place.querySelector<HTMLElement>('.marked')];
  if (code) code.scrollTop = marked ? marked.offsetTop - code.clientHeight / 3 : 0;
}

function say(text: string): void {
  notice = text;
  draw();
  setTimeout(() => (notice === text ? say('') : undefined), NOTICE_MS);
}

/** Resolves after the earlier commands. Without it, the browser could send two commands on two connections, and the second could arrive first. */
let before: Promise<unknown> = Promise.resolve();

function send(command: Command): void {
  const answered = before.then(() => post(command));
  if (command.kind === 'play') {
    askedRun = Infinity;
    draw();
    void answered.then((accepted) => (askedRun = accepted?.runNumber ?? 0)).then(draw);
  }
  // A replica that does not come back must not hold up the commands behind it.
  if (command.kind === 'play' || command.action !== 'start') before = answered;
}

async function post(command: Command): Promise<Accepted | undefined> {
  const body = JSON.stringify(command);
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch('/commands', { method: 'POST', headers, body }).catch(() => undefined);
  if (answer?.ok) return (await answer.json()) as Accepted;
  say(answer ? ((await answer.json()) as { error: string }).error : 'The laboratory does not answer.');
  return undefined;
}

async function copy(text: string, what: string): Promise<void> {
  await navigator.clipboard.writeText(text).then(
    () => say(`${what} copied`),
    () => say('The browser does not allow copying'),
  );
}

function draw(): void {
  const isThis = lab?.step === selection.step && lab.scenario === selection.scenario;
  const state = isThis ? lab : undefined;
  const shown = state ? events : [];
  const attempts = attemptsOf(shown);
  const step = catalogue.steps.find(({ label }) => label === selection.step);
  const now = performance.now();
  const doings = {
    // The buttons would act on the run before, whose state is still shown.
    isWaiting: (lab?.runNumber ?? 0) < askedRun,
    send,
    choose,
    copyLink: () => void copy(location.origin + location.pathname + hashOf(selection), 'Link'),
    copyCurl: () =>
      void copy(curlOf(selection.step, shown, { labUrl: location.origin, proxyUrl: lab?.proxyUrl ?? '' }), 'Commands'),
  };
  const width = Math.floor(place.querySelector('.timeline')?.clientWidth ?? 600);
  const follow = isAtEnd();
  render(
    html`
      <header>
        <strong>Idempotency lab</strong>
        <span
          >One payment, sent by a client that may have to send it again. Choose who serves it and what goes wrong, and
          count the captures.</span
        >
        ${isConnected ? '' : html`<em role="alert">The laboratory has ended. Start it again with <code>npm run lab</code>.</em>`}
      </header>
      <nav aria-label="Implementation and failure">${chooser(catalogue, selection, lab?.results ?? {}, choose)}</nav>
      <main>
        <section class="stage" data-run=${lab?.runNumber ?? ''}>
          ${stage(catalogue, selection, lab, state, notice, doings)}
        </section>
        <section class="timeline" tabindex="0" aria-label="Timeline">
          ${timeline(shown, attempts, lab?.replicas, width)}
        </section>
        <section class="rows" aria-label="Rows">
          ${attemptTable(attempts)}${tables(state && rows, { changes, now, leaseSeconds: lab?.leaseSeconds ?? 0 })}
        </section>
        <section class="code">
          ${step ? codePane(step.source, step.code, step.marks[selection.scenario] ?? []) : ''}
        </section>
      </main>
    `,
    place,
  );
  if (follow) scrollToEnd();
}

const scroller = () => place.querySelector('.timeline');
function isAtEnd(): boolean {
  const box = scroller();
  return !box || box.scrollHeight - box.scrollTop - box.clientHeight < 40;
}
function scrollToEnd(): void {
  const box = scroller();
  if (box) box.scrollTop = box.scrollHeight;
}

function connect(): void {
  const stream = new EventSource('/updates');
  stream.onopen = () => {
    isConnected = true;
    events = [];
    askedRun = 0; // another laboratory counts its own runs
  };
  stream.onerror = () => {
    isConnected = false;
    draw();
  };
  stream.onmessage = ({ data }: MessageEvent<string>) => {
    const update = JSON.parse(data) as Update;
    if (update.state) {
      if (update.state.since !== lab?.since) changes.forget();
      lab = update.state;
    }
    const { since } = lab ?? { since: 0 };
    events = [...events, ...update.events].filter(({ id }) => id >= since);
    if (update.rows) {
      rows = update.rows;
      changes.note(rows, performance.now());
    }
    draw();
  };
}

addEventListener('hashchange', () => choose(selectionOf(location.hash, catalogue)));
addEventListener('resize', draw);
setInterval(draw, REDRAW_MS);
draw();
draw(); // the first drawing gives the diagram its width
reveal();
connect();
