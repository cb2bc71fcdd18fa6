import { runCommand, startCommand } from '../commands.js';
import { EffectCount, expectSame } from '../expectations.js';
import { Skipped, TargetError, Undecided } from '../finding.js';
import { type Answer, NoAnswer } from '../http/exchange.js';
import { freshKey, get, send } from '../http/send.js';
import type { Check, Subject } from '../subject.js';
import { type CrashCommands, isSuccess } from '../target.js';
import { sendFirst } from './first.js';
import { DelaySearch } from './delay-search.js';
import { effectSeen, measure, pause, retryUntilReplied } from './retries.js';

/** Crashes of the search at most: each costs a restart, and perhaps a lease. */
const CRASHES = 12;
/** The longest time for all crashes. */
const SEARCH_MS = 10 * 60_000;
/** Crashes between the effect and the reply after which the search ends. */
const HITS = 2;
/** The longest time that a service may take to start. */
const START_MS = 120_000;
/** Time beyond the lease that a retry may need, besides the time of the request itself. */
const LEASE_MARGIN_MS = 3_000;
const LOOK_MS = 100;

/** Where a crash fell. */
type Place = 'before the effect' | 'between effect and reply' | 'after the reply';

/** The time until the effect of an undisturbed request is seen, and until its reply. */
async function measureEffect(subject: Subject, body: string) {
  const replyMs = await measure(subject, body);
  const effects = await EffectCount.from(subject);
  const replied = new AbortController();
  const startedAt = performance.now();
  const seen = effectSeen(effects, 1, replied.signal).then(() => performance.now() - startedAt);
  await sendFirst(subject, { key: freshKey(subject.profile), body });
  replied.abort();
  return { replyMs, effectMs: Math.min(await seen, replyMs) };
}

/** Waits until the service answers and counts its effects. */
async function waitUntilUp(subject: Subject, failure: () => string | undefined): Promise<void> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    const reason = failure();
    if (reason !== undefined) throw new TargetError(`--restart-command: the command ${reason}`);
    try {
      // The effects may be counted by a command, which works without the service.
      await get(subject.target, subject.target.path);
      await EffectCount.from(subject);
      return;
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof TargetError)) throw error;
      if (performance.now() > deadline)
        throw new TargetError(`The service was not up ${START_MS / 1000} s after the kill command: ${error.message}`);
    }
    await pause(LOOK_MS);
  }
}

/**
 * Kills the service while it processes a request, and judges what the retry gets.
 *
 * @throws Failure if the key has another number of effects than one, stays stuck, or lost an acknowledged reply
 */
async function crashOnce(subject: Subject, body: string, { kill, restart }: CrashCommands, delayMs: number) {
  const { target, profile } = subject;
  const effects = await EffectCount.from(subject);
  const key = freshKey(profile);
  const answered: Promise<Answer | undefined> = send(target, { key, body }).catch((error: unknown) => {
    if (error instanceof NoAnswer) return undefined;
    throw error;
  });
  await pause(delayMs);
  await runCommand('--kill-command', kill);
  const killedAt = performance.now();
  const started = restart === undefined ? undefined : startCommand(restart);
  const answer = await answered;
  // A service that is stopped may answer with 503, which acknowledges nothing.
  const acknowledged = answer && isSuccess(target, answer.status) ? answer : undefined;
  await waitUntilUp(subject, () => started?.failure());
  const made = await effects.since([]);
  const place: Place = acknowledged ? 'after the reply' : made > 0 ? 'between effect and reply' : 'before the effect';

  const what = `a key whose service was killed ${Math.round(delayMs)} ms after the request, ${place}`;
  const deadline = Math.max(killedAt + target.leaseMs, performance.now()) + LEASE_MARGIN_MS + delayMs;
  const within = `${what}, within the lease of ${target.leaseMs / 1000} s`;
  const reply = await retryUntilReplied(subject, { key, body }, () => performance.now() < deadline, within);
  const stuckSeconds = (performance.now() - killedAt) / 1000;
  await effects.expect(1, [reply], `${what}, and which got a reply ${stuckSeconds.toFixed(1)} s later`);
  if (acknowledged) expectSame(acknowledged, reply, `a retry of ${what}`);
  const again = await send(target, { key, body });
  expectSame(reply, again, `a second retry of ${what}`);
  await effects.expect(1, [again], what);
  return { place, stuckSeconds };
}

export const crash: Check = {
  id: 'crash',
  title: 'a retry after a crash between effect and reply gets a reply, and there is one effect',
  run: async (subject) => {
    const { target } = subject;
    const { crash: commands } = target;
    if (!commands) throw new Skipped('no command that kills the service was given: see --kill-command');
    const body = target.slowBody ?? target.body;
    const { replyMs, effectMs } = await measureEffect(subject, body);
    const places: Record<Place, number> = {
      'before the effect': 0,
      'between effect and reply': 0,
      'after the reply': 0,
    };
    let tries = 0;
    let longestSeconds = 0;
    const tryDelay = async (delayMs: number) => {
      const step = `crash ${++tries} of at most ${CRASHES + 1}`;
      subject.progress(`${step}: kills the service ${Math.round(delayMs)} ms after a request`);
      const { place, stuckSeconds } = await crashOnce(subject, body, commands, delayMs);
      longestSeconds = Math.max(longestSeconds, stuckSeconds);
      subject.progress(`${step}: was ${place}`);
      places[place]++;
      return place;
    };
    const search = new DelaySearch(effectMs, replyMs);
    const deadline = performance.now() + SEARCH_MS;
    while (tries < CRASHES && places['between effect and reply'] < HITS && performance.now() < deadline) {
      const place = await tryDelay(search.next());
      search.learn(place === 'before the effect' ? 'early' : place === 'after the reply' ? 'late' : 'hit');
    }
    // A service that records its reply first loses the effect if it crashes before the effect.
    await tryDelay(effectMs / 2);
    const counts = Object.entries(places)
      .map(([place, count]) => `${count} ${place}`)
      .join(', ');
    if (places['between effect and reply'] === 0)
      throw new Undecided(
        `no crash fell between effect and reply (${counts}): see --slow-body, and check that --kill-command kills at once the service that answers at --url`,
      );
    return `${tries} crashes (${counts}), one effect of each key, and a reply at most ${longestSeconds.toFixed(1)} s after the crash`;
  },
};
