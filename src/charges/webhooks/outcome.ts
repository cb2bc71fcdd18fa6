/**
 * The outcome of an event. `applied`: its work is committed, also if nothing was left to do. `duplicate`: its work was committed before.
 * `unmatched`: it is kept, because its charge is not known. `contradicted`: money has moved against the books. `ignored`: it is not for this
 * service.
 */
export const OUTCOMES = ['applied', 'duplicate', 'unmatched', 'contradicted', 'ignored'] as const;

export type Outcome = (typeof OUTCOMES)[number];
