// Goal: keep the English of the project plain.
// Method: search comments, texts and documents for habits that a regular expression recognises, and try each habit on examples.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';

/**
 * Keeps the English of the project plain: a good engineer who reads English as a second language must not have to read a sentence twice.
 * Only habits that a regular expression recognises are here; the glossary and the rest of the rules are in CONTRIBUTING.md.
 */

/** Words that hide the noun or the term of the field. */
const WORDS: [habit: RegExp, instead: string][] = [
  [/\b(whoever|whomever|whichever|whatever)\b/i, 'name the subject'],
  [/\b(nobody|somebody|nobody's|somebody's)\b/i, 'name the person, process or client'],
  [/\banew\b/i, '"again", "new" or "recreate"'],
  [/\bmeanwhile\b/i, '"since then", "in the meantime" or the event'],
  [/\b(tell|tells|told|telling) (of|to be)\b/i, '"report", "announce" or "store"'],
  [/\b(is|are|was|were|be|been) told\b/i, '"receives", "is notified" or the event'],
  [
    /(?<!\bthere )\b(is|are|was|were) no (?!longer\b|more\b|less\b|later\b|earlier\b|fewer\b|better\b)[a-z]/i,
    '"is not a …" or "there is no …" with a verb',
  ],
  [/\b(is|are|was|were|be|been) away\b/i, '"is unavailable"'],
  [/\b(put|puts|putting) off\b/i, '"postpone" or "back off"'],
  [/\bin a circle\b/i, '"deadlock"'],
  [/\b(in company|no luck|had luck)\b/i, '"in a group", "failed"'],
  [/\bbears? the name\b/i, '"is derived from"'],
];

/** Beginnings of sentences without a subject. A question may begin so. */
const BEGINNING = /(?:^|(?<=[.:;!?]["')*`]? ))(What|Who|Whose|Of|Under|Told)\b[^.!?]*[.!?]?/g;

/** A text, and whether it consists of sentences, as a comment does and the name of a test does not. */
interface Prose {
  line: number;
  text: string;
  isSentence: boolean;
}

function habitsOf({ text, isSentence }: Prose): string[] {
  const found = WORDS.flatMap(([habit, instead]) => {
    const match = habit.exec(text);
    return match ? [`"${match[0]}": ${instead}`] : [];
  });
  if (!isSentence) return found;
  for (const [sentence, word] of text.matchAll(BEGINNING)) {
    if (!sentence.endsWith('?')) found.push(`a sentence begins with "${word}": name its subject`);
  }
  return found;
}

const joined = (lines: string[]) => lines.join(' ').replaceAll(/\s+/g, ' ').trim();

/** Comments of TypeScript and JavaScript, one for each block of lines, and the texts that contain a space. */
function proseOfCode(path: string, text: string): Prose[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const prose: Prose[] = [];
  const seen = new Set<number>();
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1;
  const addComments = (ranges: ts.CommentRange[] | undefined) => {
    let block: { line: number; lines: string[] } | undefined;
    for (const { pos, end, kind } of ranges ?? []) {
      if (seen.has(pos)) continue;
      seen.add(pos);
      const raw = text.slice(pos, end);
      if (kind === ts.SyntaxKind.MultiLineCommentTrivia) {
        const clean = raw
          .slice(2, -2)
          .replaceAll(/^[ \t]*\*? ?/gm, '')
          .replaceAll(/```[\s\S]*?```/g, '');
        for (const part of clean.split(/\n\s*\n|\n(?=@)/)) {
          prose.push({
            line: lineAt(pos),
            text: joined([part.replace(/^@\w+( \w+ (?=[a-z]))?/, '')]),
            isSentence: true,
          });
        }
        continue;
      }
      const line = lineAt(pos);
      if (block && line === block.line + block.lines.length) block.lines.push(raw.slice(2));
      else {
        if (block) prose.push({ line: block.line, text: joined(block.lines), isSentence: true });
        block = { line, lines: [raw.slice(2)] };
      }
    }
    if (block) prose.push({ line: block.line, text: joined(block.lines), isSentence: true });
  };
  const visit = (node: ts.Node): void => {
    addComments(ts.getLeadingCommentRanges(text, node.getFullStart()));
    addComments(ts.getTrailingCommentRanges(text, node.getEnd()));
    const isText =
      ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddle(node) || ts.isTemplateTail(node);
    if (isText && /\s/.test(node.text)) {
      prose.push({ line: lineAt(node.getStart()), text: joined([node.text]), isSentence: false });
    }
    node.getChildren(source).forEach(visit);
  };
  visit(source);
  return prose;
}

/** Paragraphs, rows of tables and items of lists, without code. */
function proseOfMarkdown(text: string): Prose[] {
  const plain = text.replaceAll(/```[\s\S]*?```/g, (code) => '\n'.repeat(code.split('\n').length - 1));
  const prose: Prose[] = [];
  let lines: string[] = [];
  let first = 0;
  const end = () => {
    if (lines.length > 0)
      prose.push({ line: first, text: joined(lines).replaceAll(/`[^`]*`/g, 'code'), isSentence: true });
    lines = [];
  };
  plain.split('\n').forEach((line, i) => {
    if (/^\s*$|^#|^[|]|^\s*([-*]|\d+\.) /.test(line)) end();
    if (/^#|^\s*$/.test(line)) return;
    if (lines.length === 0) first = i + 1;
    if (line.startsWith('|'))
      for (const cell of line.split('|')) prose.push({ line: i + 1, text: joined([cell]), isSentence: true });
    else lines.push(line.replace(/^\s*([-*]|\d+\.|>) /, ''));
  });
  end();
  return prose;
}

/** Blocks of lines that begin with `#`, as in scripts and settings. */
function proseOfScript(text: string): Prose[] {
  const plain = text.replace(/^#!.*/, '');
  const blocks = plain.matchAll(/(?:^[ \t]*#.*\n?)+/gm);
  return [...blocks].map(({ 0: block, index }) => ({
    line: plain.slice(0, index).split('\n').length,
    text: joined([block.replaceAll(/^[ \t]*#+/gm, '')]),
    isSentence: true,
  }));
}

function proseOf(path: string, text: string): Prose[] {
  if (path.endsWith('.md')) return proseOfMarkdown(text);
  return /\.[jt]s$/.test(path) ? proseOfCode(path, text) : proseOfScript(text);
}

function violationsOf(path: string, text: string): string[] {
  const prose = proseOf(path, text);
  return prose.flatMap((each) => habitsOf(each).map((habit) => `${path}:${each.line} ${habit}`));
}

/** Folders that still have to be rewritten. A folder leaves this list with its last habit and never comes back. */
const TO_REWRITE: string[] = [];

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .trim()
  .split('\n')
  .filter((path) => path !== 'test/tools/language.spec.ts' && !/\.(json|svg|png)$|^LICENSE$/.test(path));
const folders = [...new Set(files.map((path) => path.split('/').slice(0, -1).join('/')))].filter(
  (folder) => !TO_REWRITE.includes(folder),
);

describe('the English of the project', () => {
  it.each(folders.map((folder) => [folder === '' ? 'the root' : folder, folder]))('is plain in %s', (_, folder) => {
    const here = files.filter((path) => path.split('/').slice(0, -1).join('/') === folder);
    expect(here.flatMap((path) => violationsOf(path, readFileSync(path, 'utf8')))).toEqual([]);
  });

  it.each([
    '// What is asked again is asked with the same key.',
    '// The row is locked. Of a key that was claimed.',
    '/** Whoever retries finds it. */',
    '/**\n * A key.\n *\n * @returns bytes that are no UTF-8\n */',
    '// The customer is made anew.',
    'const text = `the database is away`;',
    "it('is refused for somebody else', noop);",
  ])('is recognised as not plain in %s', (text) => {
    expect(violationsOf('a.ts', text)).toHaveLength(1);
  });

  it('is recognised as not plain in a script', () => {
    expect(
      violationsOf('run.sh', '#!/bin/sh\n\n# Nobody stops\n# these. What is left is deleted.\nrm -r left # whoever\n'),
    ).toEqual([
      'run.sh:3 "Nobody": name the person, process or client',
      'run.sh:3 a sentence begins with "What": name its subject',
    ]);
  });

  it.each([
    '// What happens if the process dies here? The lease expires.',
    '// There is no row, so the insert wins.',
    '// The reply is no longer cached.',
    '/** The relay locks the row, because two relays may run at once. */',
    "import { whatever } from './whatever.js';",
  ])('is recognised as plain in %s', (text) => {
    expect(violationsOf('a.ts', text)).toEqual([]);
  });
});
