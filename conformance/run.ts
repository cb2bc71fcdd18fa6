import { CHECKS } from './checks.js';
import { Failure, type Finding, Unknown } from './finding.js';
import type { Profile } from './profiles.js';
import { NoAnswer, reach, type Target } from './target.js';

/** Receives each finding as soon as its check has ended. */
export type OnFinding = (finding: Finding) => void;

/**
 * Runs all checks, one after the other, and returns their findings.
 *
 * @throws TargetError if the service cannot be checked
 */
export async function findAll(target: Target, profile: Profile, onFinding: OnFinding): Promise<Finding[]> {
  await reach(target);
  const findings: Finding[] = [];
  for (const { id, title, run } of CHECKS) {
    const judged = await run(target, profile).then(
      (detail) => ({ verdict: 'passed' as const, detail }),
      (error: unknown) => {
        if (error instanceof Failure) return { verdict: 'failed' as const, detail: error.message };
        if (error instanceof Unknown) return { verdict: 'unknown' as const, detail: error.message };
        // The service answered before the checks, so it has become stuck or has stopped.
        if (error instanceof NoAnswer)
          return { verdict: 'failed' as const, detail: `expected an answer, but ${error.message}` };
        throw error;
      },
    );
    const finding = { id, title, ...judged };
    findings.push(finding);
    onFinding(finding);
  }
  return findings;
}
