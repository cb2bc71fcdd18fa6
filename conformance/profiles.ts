/** What a service is held to. Where documents leave a choice, every choice is right. */
export interface Profile {
  readonly title: string;
  /** Statuses of a request without a key; `accepted` when a key is not required. */
  readonly missingKey: readonly number[] | 'accepted';
  /** Statuses of a key with another body. */
  readonly otherBody: readonly number[];
  /** Statuses, besides the reply itself, of a duplicate while the first is under way. */
  readonly inProgress: readonly number[];
  /** Keys that are to be refused with 400, by what is wrong with them. */
  readonly badKeys: Readonly<Record<string, string | readonly string[]>>;
  /** The header, and its value, of a reply that is repeated. */
  readonly replayHeader?: readonly [name: string, value: string];
  /** Whether a key is sent in double quotes. */
  readonly quotesKeys: boolean;
  /** Whether a bare key and the same in double quotes are one. */
  readonly quotedIsBare: boolean;
  /** Whether bodies are compared by what they say, not by their bytes. */
  readonly comparesMeaning: boolean;
  /** Whether the same key of somebody else is another key. */
  readonly scoped: boolean;
  /** Whether a body that validation refuses leaves the key as it was. */
  readonly invalidBodyBurnsNoKey: boolean;
}

const TOO_LONG = 'k'.repeat(256);

export const PROFILES = {
  ours: {
    title: 'this service',
    missingKey: [400],
    otherBody: [422],
    inProgress: [],
    badKeys: {
      empty: '',
      'too long': TOO_LONG,
      'with a space': 'two words',
      'with an unbalanced quote': '"order_1',
      'sent twice': ['order_1', 'order_2'],
    },
    replayHeader: ['idempotent-replayed', 'true'],
    quotesKeys: false,
    quotedIsBare: true,
    comparesMeaning: true,
    scoped: true,
    invalidBodyBurnsNoKey: true,
  },
  /** draft-ietf-httpapi-idempotency-key-header, §2.1, §2.6 and §2.7. */
  draft: {
    title: 'draft-ietf-httpapi-idempotency-key-header',
    missingKey: [400],
    otherBody: [422],
    inProgress: [409],
    badKeys: {},
    // A String of RFC 8941: a bare key is none.
    quotesKeys: true,
    quotedIsBare: false,
    comparesMeaning: false,
    scoped: true,
    invalidBodyBurnsNoKey: false,
  },
  /** https://docs.stripe.com/api/idempotent_requests */
  stripe: {
    title: 'Stripe',
    missingKey: 'accepted',
    otherBody: [400],
    inProgress: [409],
    badKeys: { 'too long': TOO_LONG },
    replayHeader: ['idempotent-replayed', 'true'],
    quotesKeys: false,
    quotedIsBare: false,
    comparesMeaning: true,
    scoped: true,
    invalidBodyBurnsNoKey: true,
  },
} as const satisfies Record<string, Profile>;

export type ProfileName = keyof typeof PROFILES;
