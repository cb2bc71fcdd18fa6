import type { Finding } from '../finding.js';
import { countOf, evidenceLines, type Format, type Run } from './report.js';

/**
 * The XML of JUnit, as Jenkins, GitLab and others read it: https://github.com/testmoapp/junitxml. A check that could not be decided is an `error`, so
 * that a CI job does not show it as passed.
 */
export const junit: Format = {
  begin: () => '',
  finding: () => '',
  end: (run, findings) =>
    suite(
      run,
      {
        tests: findings.length,
        failures: countOf(findings, 'failed'),
        errors: countOf(findings, 'undecided'),
        skipped: countOf(findings, 'skipped'),
        time: seconds(findings.reduce((sum, { durationMs }) => sum + durationMs, 0)),
      },
      findings.map((finding) => testcase(run, finding)).join(''),
    ),
  abort: (run, reason) =>
    suite(
      run,
      { tests: 1, failures: 0, errors: 1, skipped: 0, time: '0.000' },
      element('testcase', { classname: run.operation, name: 'the service can be checked' }, [
        element('error', { type: 'not checked', message: reason }, []),
      ]),
    ),
};

function suite({ url }: Run, numbers: Attributes, testcases: string): string {
  const attributes = { name: 'idempotency-conformance', hostname: new URL(url).host, ...numbers };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element('testsuites', {}, [element('testsuite', attributes, [testcases])])}`;
}

function testcase(run: Run, finding: Finding): string {
  const { id, title, verdict, harm, detail, durationMs } = finding;
  const attributes = { classname: run.operation, name: `${id}: ${title}`, time: seconds(durationMs) };
  const evidence = escape([detail, ...evidenceLines(run, finding)].join('\n'));
  switch (verdict) {
    case 'passed':
      return element('testcase', attributes, [element('system-out', {}, [escape(detail)])]);
    case 'failed':
      return element('testcase', attributes, [element('failure', { type: harm ?? '', message: detail }, [evidence])]);
    case 'undecided':
      return element('testcase', attributes, [element('error', { type: verdict, message: detail }, [])]);
    case 'skipped':
      return element('testcase', attributes, [element('skipped', { message: detail }, [])]);
  }
}

const seconds = (ms: number) => (ms / 1000).toFixed(3);

type Attributes = Record<string, string | number>;

function element(name: string, attributes: Attributes, children: string[]): string {
  const list = Object.entries(attributes).map(([key, value]) => ` ${key}="${escape(String(value))}"`);
  return `<${name}${list.join('')}>${children.join('')}</${name}>\n`;
}

/** Characters that XML 1.0 cannot contain, not even escaped: https://www.w3.org/TR/xml/#charsets */
const NOT_IN_XML = /[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu;

/** Escapes a text for an attribute or for the content of an element. */
const escape = (text: string) =>
  text
    .replaceAll(NOT_IN_XML, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    // A parser turns a line break in an attribute into a space, unless it is escaped.
    .replaceAll(/[\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`);
