/** How the simulated bank answers to each test token. Real card numbers never come here. */
export const CARD_BEHAVIOURS = {
  tok_visa: { kind: 'captures' },
  tok_mastercard: { kind: 'captures' },
  tok_chargeDeclined: { kind: 'declines', declineCode: 'generic_decline' },
  tok_insufficientFunds: { kind: 'declines', declineCode: 'insufficient_funds' },
  /** Captures, and takes its time to say so. Asked again, it knows. */
  tok_slow: { kind: 'captures', delayMs: 2_000 },
  /** Captures, and the answer to the first attempt is lost. */
  tok_timeout: { kind: 'loses the first answer' },
  /** Captures nothing. */
  tok_unavailable: { kind: 'unavailable' },
} as const;

export type CardToken = keyof typeof CARD_BEHAVIOURS;

export const CARD_TOKENS = Object.keys(CARD_BEHAVIOURS) as CardToken[];
