/** Texts of the lines of all implementations that decide how a repetition is answered. */
export const OF_A_REPETITION = [
  'return replay(',
  'return this.replay(',
  'this.bank.capture({',
  'request.claim(',
  'store.claim(',
];

/** Texts of the lines that decide which of several requests at once is the first. */
export const OF_A_RACE = [
  'SELECT request_body, response_body FROM lab_step_2',
  'if (known) return',
  'ON CONFLICT',
  'this.bank.capture({ id, amount',
  'request.claim(',
  'store.claim(',
];

/** Texts of the lines that decide whether a request that was interrupted at the bank is finished. */
export const OF_AN_INTERRUPTION = [
  'this.bank.capture({',
  'response_body === null',
  'held.locked_until <',
  'async resume(',
  'this.gateway.authorize(',
  'store.claim(',
];
