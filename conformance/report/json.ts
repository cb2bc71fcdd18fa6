import type { Finding } from '../finding.js';
import { curlOf } from '../http/curl.js';
import { type Format, type Run, verdictOf } from './report.js';

/** For programs: one object. */
export const json: Format = {
  begin: () => '',
  finding: () => '',
  end: (run, findings) =>
    print({ ...headOf(run), verdict: verdictOf(findings), findings: findings.map((finding) => plain(run, finding)) }),
  abort: (run, reason) => print({ ...headOf(run), verdict: 'not checked', reason }),
};

const print = (report: object) => `${JSON.stringify(report, null, 2)}\n`;

const headOf = ({ url, operation, profileName }: Run) => ({ url, operation, profile: profileName });

/** The finding, with the request as a command. Headers are left out, because those of a request and cookies of a response may be secrets. */
function plain({ keyHeader }: Run, { evidence, ...finding }: Finding): object {
  if (!evidence) return finding;
  const { request, answer } = evidence;
  return {
    ...finding,
    request: curlOf(request, keyHeader),
    ...(answer && { response: { status: answer.status, body: answer.text } }),
  };
}
