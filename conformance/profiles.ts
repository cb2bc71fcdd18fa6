/** The rules that a service must follow. If the rules leave a choice, every choice passes. */
export interface Profile {
  readonly title: string;
  /** Statuses of a request without a key; `accepted` if a key is optional. */
  readonly missingKey: readonly number[] | 'accepted';
  /** Statuses of a used key with another body. */
  readonly otherBody: readonly number[];
  /** Statuses, besides the reply itself, of a duplicate while the first request is in flight. */
  readonly inProgress: readonly number[];
  /** Keys that must be refused, by what is wrong with them. */
  readonly badKeys: Readonly<Record<string, string | readonly string[]>>;
  /** The length of the longest key that is accepted; undefined if the rules have no limit. */
  readonly maxKeyLength?: number;
  /** Statuses of a malformed key. */
  readonly malformedKey: readonly number[];
  /** The header that marks a replayed reply, and its value. */
  readonly replayHeader?: readonly [name: string, value: string];
  /** Whether a key is sent in double quotes. */
  readonly quotesKeys: boolean;
  /** Whether a key with and without double quotes is the same key. */
  readonly quotedIsBare: boolean;
  /** Whether bodies are compared as JSON values, not byte by byte. */
  readonly comparesMeaning: boolean;
  /** Whether a key is still unused after validation has refused a body. */
  readonly invalidBodyLeavesKeyUnused: boolean;
}

/** docs/conformance.md names the source of each rule. */
export const PROFILES = {
  ours: {
    title: 'the payment service of this project',
    missingKey: [400],
    otherBody: [422],
    inProgress: [],
    badKeys: {
      empty: '',
      'with a space': 'two words',
      'with an unbalanced quote': '"order_1',
      'sent twice': ['order_1', 'order_2'],
    },
    maxKeyLength: 255,
    malformedKey: [400],
    replayHeader: ['idempotent-replayed', 'true'],
    quotesKeys: false,
    quotedIsBare: true,
    comparesMeaning: true,
    invalidBodyLeavesKeyUnused: true,
  },
  /** https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07 */
  draft: {
    title: 'draft-ietf-httpapi-idempotency-key-header-07',
    missingKey: [400],
    otherBody: [422],
    inProgress: [409],
    badKeys: {},
    malformedKey: [400],
    // The draft defines the key as a String of RFC 8941, which is always quoted.
    quotesKeys: true,
    quotedIsBare: false,
    comparesMeaning: false,
    invalidBodyLeavesKeyUnused: false,
  },
  /** https://docs.stripe.com/api/idempotent_requests */
  stripe: {
    title: 'Stripe',
    missingKey: 'accepted',
    otherBody: [400],
    inProgress: [409],
    badKeys: {},
    maxKeyLength: 255,
    malformedKey: [400],
    replayHeader: ['idempotent-replayed', 'true'],
    quotesKeys: false,
    quotedIsBare: false,
    comparesMeaning: true,
    invalidBodyLeavesKeyUnused: true,
  },
} as const satisfies Record<string, Profile>;

export type ProfileName = keyof typeof PROFILES;
