/** The answer of the simulated bank to each test token. Validation refuses real card numbers. */
export const CARD_BEHAVIOURS = {
  tok_visa: { kind: 'captures' },
  tok_mastercard: { kind: 'captures' },
  tok_chargeDeclined: { kind: 'declines', declineCode: 'generic_decline' },
  tok_insufficientFunds: { kind: 'declines', declineCode: 'insufficient_funds' },
  /** Captures, and answers the first attempt after two seconds. A repetition is answered at once. */
  tok_slow: { kind: 'captures', delayMs: 2_000 },
  /** Captures, and the answer to the first attempt is lost. So is the answer to the first attempt of each refund of the charge. */
  tok_timeout: { kind: 'loses the first answer' },
  /** Captures nothing. */
  tok_unavailable: { kind: 'unavailable' },
} as const;

export type CardToken = keyof typeof CARD_BEHAVIOURS;

export const CARD_TOKENS = Object.keys(CARD_BEHAVIOURS) as CardToken[];
