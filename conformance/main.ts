#!/usr/bin/env node
import { optionsOfProcess } from '../harness/options.js';
import { TargetError, type Verdict } from './finding.js';
import { keyedOperations, listText } from './openapi.js';
import { type CheckOptions, type ListOptions, readOptions } from './options/options.js';
import { USAGE } from './options/usage.js';
import { FORMATS } from './report/formats.js';
import { type Run, verdictOf } from './report/report.js';
import { findAll } from './run.js';

const EXIT_CODES: Record<Exclude<Verdict, 'skipped'>, number> = { passed: 0, failed: 1, undecided: 3 };
/** The exit code if the service cannot be checked. */
const NOT_CHECKED = 2;

const print = (text: string) => void process.stdout.write(text);

async function check({ target, profile, profileName, checks, format: name }: CheckOptions): Promise<number> {
  const format = FORMATS[name];
  const run: Run = {
    url: target.url,
    operation: `${target.method} ${target.path}`,
    profileName,
    profileTitle: profile.title,
    keyHeader: target.keyHeader,
    checks: checks.length,
  };
  print(format.begin(run));
  let number = 0;
  try {
    const findings = await findAll(checks, target, profile, {
      onFinding: (finding) => print(format.finding(run, finding, ++number)),
      onProgress: (step) => void process.stderr.write(`${step}\n`),
    });
    print(format.end(run, findings));
    return EXIT_CODES[verdictOf(findings)];
  } catch (error) {
    if (error instanceof TargetError) print(format.abort(run, error.message));
    throw error;
  }
}

async function list({ file, keyHeader, format }: ListOptions): Promise<number> {
  const operations = await keyedOperations(file, keyHeader);
  print(format === 'json' ? `${JSON.stringify(operations, null, 2)}\n` : listText(operations, keyHeader));
  return 0;
}

try {
  const options = optionsOfProcess(USAGE, readOptions);
  process.exitCode = await (options.does === 'check' ? check(options) : list(options));
} catch (error) {
  if (!(error instanceof TargetError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = NOT_CHECKED;
}
