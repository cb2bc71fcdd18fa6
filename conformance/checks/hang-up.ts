import { EffectCount, expectSame } from '../expectations.js';
import { Undecided } from '../finding.js';
import type { Answer } from '../http/exchange.js';
import { freshKey, type Moment, send, sendAndHangUp } from '../http/send.js';
import type { Check, Subject } from '../subject.js';
import { effectSeen, measure, pause, retryUntilReplied } from './retries.js';

/** Parts of the time that a request takes, at which clients hang up. */
const PARTS = [0.2, 0.4, 0.6, 0.8];
/** Retries after a client has hung up. With the pause between two of them they take ten seconds. */
const RETRIES = 50;
/** The longest time to wait for a second effect, because a request whose client has gone may still be running. */
const MAX_SETTLE_MS = 5_000;

/** Rounds at most. If the service is fast, the reply of a whole round may be there before the clients hang up. */
const ROUNDS = 3;
const AT_ONCE = 'as soon as the request was sent';

/** The keys whose clients have hung up, and the replies that their retries got. */
interface Observed {
  readonly effects: EffectCount;
  keys: number;
  readonly answers: Answer[];
}

interface HangUp {
  readonly name: string;
  readonly moment: Moment;
}

/** @param before the number of effects before this client hangs up */
function hangUpsOf(durationMs: number, body: string, effects: EffectCount): ((before: number) => HangUp)[] {
  const after = (ms: number, name: string) => () => ({ name, moment: { kind: 'after', ms } as const });
  return [
    ...(body.length > 1
      ? [
          () => ({
            name: 'before the whole body was sent',
            moment: { kind: 'before the whole body was sent' } as const,
          }),
        ]
      : []),
    after(0, AT_ONCE),
    ...PARTS.map((part) => after(part * durationMs, `${Math.round(part * durationMs)} ms after the request was sent`)),
    ...(effects.isExact
      ? [
          (before: number) => ({
            name: 'as soon as the effect was seen',
            moment: {
              kind: 'when',
              happens: (signal: AbortSignal) => effectSeen(effects, before + 1, signal),
            } as const,
          }),
        ]
      : []),
  ];
}

/** @returns the replies that the retries got, and whether the client hung up before the reply */
async function hangUpAndRetry(subject: Subject, body: string, { name, moment }: HangUp) {
  const key = freshKey(subject.profile);
  const isInterrupted = await sendAndHangUp(subject.target, { key, body }, moment);
  let retries = 0;
  const what = `a retry after the client hung up ${name}, within ${RETRIES} retries`;
  const reply = await retryUntilReplied(subject, { key, body }, () => ++retries < RETRIES, what);
  const again = await send(subject.target, { key, body });
  expectSame(reply, again, `the second retry after the client hung up ${name}`);
  return { answers: [reply, again], isInterrupted: isInterrupted && moment.kind !== 'before the whole body was sent' };
}

/** Lets clients hang up at every moment, one after the other, and returns the names of the moments that came before the reply. */
async function hangUpAtEveryMoment(
  subject: Subject,
  body: string,
  durationMs: number,
  all: Observed,
): Promise<string[]> {
  const interrupted: string[] = [];
  for (const hangUpOf of hangUpsOf(durationMs, body, all.effects)) {
    const next = hangUpOf(all.keys);
    const { answers, isInterrupted } = await hangUpAndRetry(subject, body, next);
    all.keys++;
    all.answers.push(...answers);
    if (isInterrupted) interrupted.push(next.name);
    await all.effects.expectNoMore(
      all.keys,
      all.answers,
      `${all.keys} keys, the last of which had a client that hung up ${next.name}`,
    );
  }
  return interrupted;
}

export const hangUp: Check = {
  id: 'hang-up',
  title: 'a client that hangs up and retries gets the reply, and there is one effect',
  run: async (subject) => {
    const body = subject.target.slowBody ?? subject.target.body;
    const durationMs = await measure(subject, body);
    const all: Observed = { effects: await EffectCount.from(subject), keys: 0, answers: [] };
    const interrupted: string[] = [];
    // The client that hangs up at once does not count, because the service may not have begun to process its request.
    const isMet = () => interrupted.some((name) => name !== AT_ONCE);
    for (let round = 0; round < ROUNDS && !isMet(); round++)
      interrupted.push(...(await hangUpAtEveryMoment(subject, body, durationMs, all)));
    await pause(Math.min(durationMs, MAX_SETTLE_MS));
    const made = await all.effects.expect(all.keys, all.answers, `${all.keys} keys whose clients hung up and retried`);
    if (!all.effects.isExact)
      throw new Undecided('without --effects, a second effect of a request that hung up would not be seen');
    if (!isMet())
      throw new Undecided(
        `the service replied within ${Math.round(durationMs)} ms, before the clients could hang up: see --slow-body`,
      );
    return `${made}; ${interrupted.length} of ${all.keys} clients hung up before the reply`;
  },
};
