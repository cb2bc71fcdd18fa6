import { BY_HAND } from '../page/selection.js';
import { play } from '../scenarios/play.js';
import type { Scenario } from '../scenarios/scenario.js';
import { ACTIONS, type ActionName } from '../world/actions.js';
import type { LabEvent, ReplicaName } from '../world/events.js';
import type { Implementation } from '../world/implementations.js';
import type { Rows } from '../world/rows.js';
import { World } from '../world/world.js';
import type { Accepted, Command, LabState, Phase } from './messages.js';

/** Short, because a reader waits for its end. Long enough for a busy machine to finish a request in time. */
const LEASE_SECONDS = 2;
/** The lease of a run by hand, in which a person needs time to act. It is the default of the service. */
const LEASE_BY_HAND_SECONDS = 30;
/** Maximum number of attempts by hand that are under way. */
const UNDER_WAY = 100;
const BUSY: readonly Phase[] = ['starting', 'preparing', 'running'];

/** The command cannot be executed now. */
export class Busy extends Error {}
/** The command names a step or a scenario that does not exist. */
export class Unknown extends Error {}

type Run = Omit<LabState, 'replicas' | 'proxyUrl' | 'results'>;

/** One world, and the one run that takes place in it. All pages see the same run. */
export class Laboratory {
  /** The rows at the last {@link Laboratory.look}. */
  rows: Rows = { 'bank.captures': [] };
  private world: World | undefined;
  private run: Run = {
    phase: 'starting',
    runNumber: 0,
    step: '',
    scenario: '',
    since: 1,
    leaseSeconds: LEASE_SECONDS,
  };
  private used: { step?: string; leaseSeconds?: number } = {};
  private readonly results: Record<string, boolean> = {};

  constructor(
    private readonly implementations: readonly Implementation[],
    private readonly scenarios: readonly Scenario[],
  ) {}

  /** Starts the world, and the replicas of the first step, so that the first run begins at once. */
  async open(): Promise<void> {
    this.world = await World.start();
    const [first] = this.implementations;
    if (first) await this.prepare(this.world, first, LEASE_SECONDS);
    this.run.phase = 'ready';
  }

  get state(): LabState {
    const { replicas, proxy } = this.world ?? {};
    return {
      ...this.run,
      replicas: { A: replicas?.A.state ?? 'stopped', B: replicas?.B.state ?? 'stopped' },
      proxyUrl: proxy ? `http://127.0.0.1:${proxy.port}` : '',
      results: this.results,
    };
  }

  /** The events of this run. */
  get events(): readonly LabEvent[] {
    return this.world?.events.past.filter(({ id }) => id >= this.run.since) ?? [];
  }

  /** The address of PostgreSQL. It is empty until PostgreSQL runs. */
  get databaseUrl(): string {
    return this.world?.databaseUrl ?? '';
  }

  /**
   * Begins to execute a command, which the state and the events then show.
   *
   * @throws Busy if the laboratory is not ready for it
   * @throws Unknown if the step or the scenario does not exist
   */
  async execute(command: Command): Promise<Accepted> {
    const { world } = this;
    if (!world || BUSY.includes(this.run.phase)) throw new Busy('A run has not ended yet.');
    if (command.kind === 'act') return this.act(world, command.action, command.replica);
    return this.play(world, command.step, command.scenario);
  }

  /** Reads the rows, and judges a run by hand. Call it while a page is open. */
  async look(): Promise<void> {
    const { world, run } = this;
    if (!world?.implementation) return;
    this.rows = await world.snapshot().catch(() => this.rows); // the tables of another step may be dropped at this moment
    if (run.phase !== 'by-hand') return;
    const requests = new Set(this.events.filter(({ from }) => from === 'client').map(({ key }) => key)).size;
    const verdict = await world.judge(requests).catch(() => undefined);
    const isOpen = !verdict || requests === 0 || verdict.unfinished > 0 || world.client.underWay > 0;
    run.verdict = isOpen ? undefined : verdict;
    run.unfinished = verdict?.unfinished;
  }

  private play(world: World, step: string, name: string): Accepted {
    const implementation = this.implementations.find(({ label }) => label === step);
    const scenario = this.scenarios.find((known) => known.name === name);
    if (!implementation || (!scenario && name !== BY_HAND)) throw new Unknown('Unknown step or scenario.');
    const leaseSeconds = scenario ? LEASE_SECONDS : LEASE_BY_HAND_SECONDS;
    const runNumber = this.run.runNumber + 1;
    this.run = { step, scenario: name, phase: 'preparing', runNumber, since: world.events.nextId, leaseSeconds };
    void this.begin(world, implementation, scenario).catch((error: Error) => {
      this.used = {};
      this.run = { ...this.run, phase: 'failed', problem: error.message };
    });
    return { runNumber };
  }

  private async begin(world: World, implementation: Implementation, scenario: Scenario | undefined): Promise<void> {
    await this.prepare(world, implementation, this.run.leaseSeconds);
    if (!scenario) {
      await world.reset();
      this.run = { ...this.run, phase: 'by-hand', since: world.events.nextId };
      return;
    }
    const verdict = await play(world, scenario, () => {
      this.run = { ...this.run, phase: 'running', since: world.events.nextId };
    });
    this.results[`${implementation.label} ${scenario.name}`] = verdict.held;
    this.run = { ...this.run, phase: 'finished', verdict };
  }

  private async prepare(world: World, implementation: Implementation, leaseSeconds: number): Promise<void> {
    const step = implementation.label;
    if (this.used.step === step && this.used.leaseSeconds === leaseSeconds) return;
    this.used = {};
    await world.use(implementation, leaseSeconds);
    this.used = { step, leaseSeconds };
  }

  private async act(world: World, action: ActionName, replica: ReplicaName): Promise<Accepted> {
    if (this.run.phase !== 'by-hand') throw new Busy('Nothing runs by hand.');
    if (world.client.underWay >= UNDER_WAY) throw new Busy(`${UNDER_WAY} attempts are under way.`);
    const { run } = this; // another run may have begun when the action fails
    run.problem = undefined;
    try {
      await ACTIONS[action](world, replica);
    } catch (error) {
      run.problem = (error as Error).message;
    }
    return { runNumber: run.runNumber };
  }
}
