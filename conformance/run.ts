import { Failure, type Finding, Skipped, TargetError, Undecided } from './finding.js';
import { NoAnswer } from './http/exchange.js';
import { preflight } from './preflight.js';
import type { Profile } from './profiles.js';
import type { Check, Subject } from './subject.js';
import type { Target } from './target.js';

/** Receives the results of a run. */
export interface Listener {
  /** Receives each finding as soon as its check has ended. */
  readonly onFinding: (finding: Finding) => void;
  /** Receives the steps of checks that take long. */
  readonly onProgress: (step: string) => void;
}

/**
 * Runs the checks, one after the other, and returns their findings.
 *
 * @throws TargetError if the service cannot be checked
 */
export async function findAll(
  checks: readonly Check[],
  target: Target,
  profile: Profile,
  { onFinding, onProgress }: Listener,
): Promise<Finding[]> {
  let current = '';
  const subject = await preflight(target, profile, (step) => onProgress(`${current}: ${step}`)).catch(asTargetError);
  const findings: Finding[] = [];
  for (const check of checks) {
    current = check.id;
    const finding = await find(check, subject);
    findings.push(finding);
    onFinding(finding);
  }
  return findings;
}

function asTargetError(error: unknown): never {
  throw error instanceof NoAnswer ? new TargetError(error.message) : error;
}

async function find({ id, title, run }: Check, subject: Subject): Promise<Finding> {
  const startedAt = performance.now();
  const judged = await run(subject).then(
    (detail) => ({ verdict: 'passed' as const, detail }),
    (error: unknown) => judge(error),
  );
  return { id, title, ...judged, durationMs: Math.round(performance.now() - startedAt) };
}

function judge(error: unknown): Pick<Finding, 'verdict' | 'harm' | 'detail' | 'evidence'> {
  if (error instanceof Failure) {
    const { harm, message, evidence } = error;
    return { verdict: 'failed', harm, detail: message, ...(evidence && { evidence }) };
  }
  if (error instanceof Undecided) return { verdict: 'undecided', detail: error.message };
  if (error instanceof Skipped) return { verdict: 'skipped', detail: error.message };
  // The service answered before the checks, so it has become stuck or has stopped.
  if (error instanceof NoAnswer) {
    const { message, request } = error;
    return {
      verdict: 'failed',
      harm: 'stuck key',
      detail: `expected an answer, but ${message}`,
      evidence: { request },
    };
  }
  throw error;
}
