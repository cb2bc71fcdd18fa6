import type { Finding, Verdict } from '../finding.js';
import { curlOf } from '../http/curl.js';

/** The operation that is checked and its rules, for the head of a report. */
export interface Run {
  readonly url: string;
  /** Such as `POST /charges`. */
  readonly operation: string;
  readonly profileName: string;
  readonly profileTitle: string;
  readonly keyHeader: string;
  /** Number of checks. */
  readonly checks: number;
}

/**
 * A form of the report. Each function returns text to print. The end receives the findings; if the service could not be checked, `abort` receives
 * the reason instead.
 */
export interface Format {
  begin(run: Run): string;
  finding(run: Run, finding: Finding, number: number): string;
  end(run: Run, findings: readonly Finding[]): string;
  abort(run: Run, reason: string): string;
}

/** `failed` if a check failed; otherwise `undecided` if a check could not be decided. */
export function verdictOf(findings: readonly Finding[]): Exclude<Verdict, 'skipped'> {
  const has = (wanted: Verdict) => findings.some(({ verdict }) => verdict === wanted);
  return has('failed') ? 'failed' : has('undecided') ? 'undecided' : 'passed';
}

export const countOf = (findings: readonly Finding[], wanted: Verdict) =>
  findings.filter(({ verdict }) => verdict === wanted).length;

/** The largest part of a body that a report shows. */
const MAX_BODY = 2_000;

/** Lines that name the request, as a command that repeats it, and its response. */
export function evidenceLines({ keyHeader }: Run, { evidence }: Finding): string[] {
  if (!evidence) return [];
  const { request, answer } = evidence;
  if (!answer) return [curlOf(request, keyHeader), 'no response'];
  const type = answer.headers['content-type'];
  return [
    curlOf(request, keyHeader),
    `HTTP ${answer.status}${type === undefined ? '' : `, ${type}`}`,
    ...(answer.text === '' ? [] : [answer.text.slice(0, MAX_BODY)]),
  ];
}
