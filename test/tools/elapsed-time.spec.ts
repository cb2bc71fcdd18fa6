// Goal: no test depends on the speed of the machine: none asserts on elapsed time, and none pauses for a fixed time.
// Method: search the syntax tree of every spec for such assertions and pauses.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';

/** Names of measured times, as whole words or as parts of names: `ms`, `elapsedMs`, `tookSeconds`, `startedAt`. */
const TIME =
  /(^|[^A-Za-z])(ms|millis|seconds|elapsed|took|duration|now|hrtime)\b|(Ms|Millis|Seconds|Elapsed|Took|Duration|StartedAt|Now)\b|\bstartedAt\b/;
const BOUND = /^toBe(Less|Greater)Than(OrEqual)?$|^toBeCloseTo$/;
/** Names of functions that pause. */
const PAUSE = /^(setTimeout|pause|sleep|delay|wait)$/;

const BOUNDS_TIME =
  'bounds elapsed time, which is longer on a busy machine: assert on recorded values, or on the order of events';
const PAUSES = 'pauses for a fixed time: await the event, or a later event that proves that nothing has happened';

/** Describes every place in a test that depends on the speed of the machine. */
function violationsOf(path: string, text: string): string[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const report = (node: ts.Node, rule: string) => {
    const { line } = source.getLineAndCharacterOfPosition(node.getStart());
    found.push(`${path}:${line + 1}: ${node.getText().split('\n')[0]} ${rule}`);
  };
  const visit = (node: ts.Node): void => {
    if (isBoundOnTime(node)) report(node, BOUNDS_TIME);
    if (ts.isAwaitExpression(node) && isPause(node.expression)) report(node, PAUSES);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** An assertion such as `expect(performance.now() - startedAt).toBeLessThan(4_000)`. */
function isBoundOnTime(node: ts.Node): boolean {
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return false;
  const { name, expression: subject } = node.expression;
  return BOUND.test(name.text) && [subject, ...node.arguments].some((part) => TIME.test(part.getText()));
}

/** `pause(100)`, or `new Promise((resolve) => setTimeout(resolve, 100))`. */
function isPause(node: ts.Expression): boolean {
  if (ts.isNewExpression(node))
    return (node.arguments ?? []).some((executor) => /\bsetTimeout\(/.test(executor.getText()));
  return ts.isCallExpression(node) && PAUSE.test(node.expression.getText());
}

const root = new URL('../', import.meta.url);
const specs = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('spec.ts'));

describe('the specs', () => {
  it('finds no assertion on elapsed time and no fixed pause in the specs', () => {
    expect(specs).toContain('spec/messaging.e2e-spec.ts');
    expect(specs.flatMap((path) => violationsOf(path, readFileSync(new URL(path, root), 'utf8')))).toEqual([]);
  });

  it.each([
    'expect(performance.now() - startedAt).toBeLessThan(4_000);',
    'expect(Date.now() - before).toBeLessThan(LIMIT);',
    'expect(Date.now()).not.toBeGreaterThan(deadline);',
    'expect(took).toBeLessThanOrEqual(100);',
    'expect(elapsedMs).toBeGreaterThan(90);',
    'waits.forEach((ms, i) => expect(ms).toBeGreaterThan(20 * 2 ** i));',
    'expect(answer.seconds).toBeCloseTo(2);',
    'expect(row.wait).toBeLessThan(IDLE_MS - tookMs);',
    'expect(metrics.get("oldest_unfinished_seconds")).toBeLessThan(150);',
    'await pause(100);',
    'await sleep(100, undefined, { ref: false });',
    'await new Promise((resolve) => setTimeout(resolve, 20));',
  ])('finds a dependence on time in %s', (text) => {
    expect(violationsOf('a.spec.ts', text)).toEqual([expect.stringMatching(/^a\.spec\.ts:1: (expect|await).* time/)]);
  });

  it.each([
    'expect(sizes.length).toBeLessThan(150);',
    'expect(published).toBeGreaterThan(0);',
    'expect(statusesOf(answers)[200]).toBeGreaterThan(0);',
    'expect(forms.length).toBeGreaterThan(5);',
    'expect(known).toBeGreaterThan(5);',
    'await until(() => landed.length > 0);',
    '// expect(elapsedMs).toBeLessThan(100);',
  ])('finds no dependence on time in %s', (text) => {
    expect(violationsOf('a.spec.ts', text)).toEqual([]);
  });
});
