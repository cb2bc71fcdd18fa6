import { describe, expect, it } from '@jest/globals';
import type { Answer } from '../../lab/world/client.js';
import { type Evidence, type Invariant, judge } from '../../lab/world/verdict.js';

const request = { key: 'order_1', amount: 1999, currency: 'eur' };
const reply = (status: number, body = '{}', digest = 'same'): Answer => ({
  kind: 'reply',
  attempt: 1,
  request,
  status,
  body,
  digest,
  replayed: false,
});
const SOUND: Evidence = {
  effects: { captures: 1, charges: 1, unfinished: 0, overwritten: 0 },
  answers: [reply(200), reply(200), { kind: 'lost', attempt: 3, request, reason: 'lost', wasReused: false }],
  requests: 1,
};

describe('the verdict', () => {
  it('holds if one request has one capture, one charge and identical replies', () => {
    expect(judge(SOUND)).toMatchObject({
      held: true,
      sentence: 'One capture, one charge, two identical replies.',
      replies: { first: 1, identical: 1, different: 0 },
    });
  });

  it.each<[Invariant, Partial<Evidence>]>([
    ['one capture', { effects: { captures: 2, charges: 2, unfinished: 0, overwritten: 0 } }],
    ['one charge', { effects: { captures: 1, charges: 2, unfinished: 0, overwritten: 0 } }],
    ['books agree', { effects: { captures: 1, charges: 0, unfinished: 0, overwritten: 0 } }],
    ['books agree', { effects: { captures: 0, charges: 1, unfinished: 0, overwritten: 0 } }],
    ['nothing stuck', { effects: { captures: 1, charges: 0, unfinished: 2, overwritten: 0 } }],
    ['same reply', { answers: [reply(200), reply(200, '{}', 'other')] }],
    ['one result', { effects: { captures: 1, charges: 1, unfinished: 0, overwritten: 1 } }],
    ['true reply', { answers: [reply(500)] }],
    ['same request', { own: [{ invariant: 'same request', held: false, sentence: 'It was not refused.' }] }],
  ])('names the invariant "%s" if the evidence is %j', (invariant, change) => {
    expect(judge({ ...SOUND, ...change })).toMatchObject({ held: false, brokenInvariant: invariant });
  });

  it('allows an error that says that the outcome is unknown, and an error without a charge', () => {
    expect(judge({ ...SOUND, answers: [reply(503, '{"outcome":"unknown"}')] }).held).toBe(true);
    const nothing = { captures: 0, charges: 0, unfinished: 0, overwritten: 0 };
    expect(judge({ ...SOUND, effects: nothing, answers: [reply(500)] }).held).toBe(true);
  });

  it('does not compare the replies of two requests that have had the same key one after the other', () => {
    const second = { ...reply(200, '{}', 'other'), request: { ...request, nth: 2 } };
    const effects = { captures: 2, charges: 2, unfinished: 0, overwritten: 0 };
    expect(judge({ effects, answers: [reply(200), second], requests: 2 }).held).toBe(true);
  });
});
