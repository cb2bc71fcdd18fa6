import type { Check } from '../subject.js';
import { crash } from './crash.js';
import { anotherKey, duplicate, otherHeaders, replayHeader } from './duplicates.js';
import { expiry } from './expiry.js';
import { hangUp } from './hang-up.js';
import { malformedKey, missingKey, quotedKey } from './keys.js';
import { bodyOrder, mismatch, otherPath, scope } from './mismatches.js';
import { invalidBody, refusal } from './refusals.js';
import { duplicatesAtOnce, replicas } from './storms.js';

/** All checks, in the order of the report. To add a check, add an entry here and a section to docs/conformance.md. */
export const CHECKS: readonly Check[] = [
  duplicate,
  anotherKey,
  otherHeaders,
  replayHeader,
  duplicatesAtOnce,
  replicas,
  mismatch,
  otherPath,
  scope,
  bodyOrder,
  missingKey,
  malformedKey,
  quotedKey,
  refusal,
  invalidBody,
  hangUp,
  expiry,
  crash,
];
