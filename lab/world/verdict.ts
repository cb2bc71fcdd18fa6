import { type Answer, isAcknowledged, type Reply, saysUnknown } from './client.js';
import type { Effects } from './rows.js';

/** The rules that must hold in every scenario. */
export const INVARIANTS = {
  'one capture': 'The bank captures once for each request, however often the request is sent.',
  'one charge': 'Each request has one charge.',
  'books agree': 'Each capture has a charge that has succeeded, and each such charge has a capture.',
  'nothing stuck': 'Each request is finished in the end, with or without its client.',
  'same reply': 'Every acknowledged attempt of a request gets the same bytes.',
  'one result': 'A recorded reply is never recorded again.',
  'true reply': 'No client is notified of a failure if the charge has succeeded.',
  'same request': 'A key that belongs to one request does not answer another request.',
  'others unharmed': 'A slow bank delays only the requests that wait for the bank.',
} as const;
export type Invariant = keyof typeof INVARIANTS;

/** A check that only one scenario makes. */
export interface OwnCheck {
  invariant: Invariant;
  held: boolean;
  /** The observation, if the invariant is broken. */
  sentence: string;
}

export interface Verdict {
  held: boolean;
  sentence: string;
  brokenInvariant?: Invariant;
  charges: number;
  captures: number;
  unfinished: number;
  overwritten: number;
  /** Acknowledged replies: the first of each request, later ones with the same bytes, and later ones with other bytes. */
  replies: { first: number; identical: number; different: number };
}

/** Everything that a verdict depends on. */
export interface Evidence {
  /** From the tables of the implementation and of the bank. */
  effects: Effects;
  answers: readonly Answer[];
  /** Number of requests that the client has meant. All retries of one request count as one. */
  requests: number;
  own?: readonly OwnCheck[];
}

export function judge({ effects, answers, requests, own = [] }: Evidence): Verdict {
  const replies = countReplies(answers);
  const seen = { ...effects, replies };
  const broken = violationsOf({ effects, answers, requests, own }, replies.different)[0];
  if (broken) return { held: false, sentence: capital(broken.sentence), brokenInvariant: broken.invariant, ...seen };
  return { held: true, sentence: heldSentence(effects, replies), ...seen };
}

function violationsOf({ effects, answers, requests, own = [] }: Evidence, different: number): OwnCheck[] {
  const { captures, charges, unfinished } = effects;
  const failed = answers.find((answer): answer is Reply => answer.kind === 'reply' && isFailure(answer));
  const of = requests === 1 ? 'one request' : `${requests} requests`;
  const checks: OwnCheck[] = [
    {
      invariant: 'one capture',
      held: captures <= requests,
      sentence: `${count(captures, 'capture')} for ${of}: ${requests === 1 ? 'this customer' : 'a customer'} paid ${captures === 2 * requests ? 'twice' : 'more than once'}.`,
    },
    {
      invariant: 'one charge',
      held: charges <= requests,
      sentence: `${count(charges, 'charge')} for ${of}.`,
    },
    {
      invariant: 'nothing stuck',
      held: unfinished === 0,
      sentence: `${captures > charges ? 'The bank has taken the money, but the' : 'The'} request is never finished: ${stuckBy(answers)}.`,
    },
    {
      invariant: 'books agree',
      held: captures === charges,
      sentence:
        captures > charges
          ? `The bank has taken the money, and there is no charge: the money is gone without a record.`
          : `${count(charges, 'charge')}, but ${count(captures, 'capture')}.`,
    },
    {
      invariant: 'same reply',
      held: different === 0,
      sentence: 'Two different replies to one request: the second result has overwritten the first.',
    },
    {
      invariant: 'one result',
      held: effects.overwritten === 0,
      sentence: 'An attempt that had lost its key completed as well: the recorded reply was overwritten.',
    },
    {
      invariant: 'true reply',
      held: !failed || charges === 0,
      sentence: `The client got ${failed?.status} and takes the payment for failed, but the charge has succeeded.`,
    },
  ];
  // The own checks of a scenario come first, because they are the most specific.
  return [...own, ...checks].filter(({ held }) => !held);
}

/** Whether a client takes a reply for a final failure. */
const isFailure = (reply: Reply) => reply.status >= 500 && !saysUnknown(reply);

function stuckBy(answers: readonly Answer[]): string {
  const last = answers.at(-1);
  const conflicts = answers.filter((answer) => answer.kind === 'reply' && answer.status === 409).length;
  if (conflicts > 1 && last?.kind === 'reply' && last.status === 409) return 'every retry gets 409';
  return 'no process continues it';
}

function countReplies(answers: readonly Answer[]): Verdict['replies'] {
  const replies = { first: 0, identical: 0, different: 0 };
  const firsts = new Map<string, string>();
  for (const { request, digest } of answers.filter(isAcknowledged)) {
    const meant = `${request.key} ${request.nth ?? 1}`;
    const first = firsts.get(meant);
    if (first === undefined) firsts.set(meant, digest);
    replies[first === undefined ? 'first' : first === digest ? 'identical' : 'different']++;
  }
  return replies;
}

function heldSentence({ captures, charges }: Effects, { first, identical }: Verdict['replies']): string {
  const replies = first + identical;
  const same =
    replies > 1 && first === 1 ? `${inWords(replies)} identical replies` : count(replies, 'reply', 'replies');
  return `${capital(count(captures, 'capture'))}, ${count(charges, 'charge')}, ${same}.`;
}

const WORDS = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];
const inWords = (number: number) => WORDS[number] ?? String(number);
const count = (number: number, one: string, many = `${one}s`) => `${inWords(number)} ${number === 1 ? one : many}`;
const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
