import { html, type TemplateResult } from './lit-html.js';

const TOKENS =
  /(?<comment>\/\*[\s\S]*?\*\/|\/\/.*)|(?<text>'[^'\n]*'|"[^"\n]*"|`[^`]*`)|\b(?<word>import|from|export|const|let|class|return|await|async|if|else|throw|new|try|catch|finally|private|readonly|type|interface|implements|extends)\b/g;

type Piece = { text: string; kind: string };

/** The lines of a program, in pieces that are a comment, a text, a keyword or nothing of these. */
function piecesOf(code: string): Piece[][] {
  const lines: Piece[][] = [[]];
  const add = (text: string, kind: string) =>
    text.split('\n').forEach((part, i) => {
      if (i > 0) lines.push([]);
      lines.at(-1)?.push({ text: part, kind });
    });
  let end = 0;
  for (const { 0: text, index, groups = {} } of code.matchAll(TOKENS)) {
    add(code.slice(end, index), '');
    add(text, Object.keys(groups).find((kind) => groups[kind] !== undefined) ?? '');
    end = index + text.length;
  }
  add(code.slice(end), '');
  return lines;
}

/** The source of the step, with the lines that decide the scenario marked. */
export function codePane(source: string, code: string, marks: readonly number[]): TemplateResult {
  const lines = piecesOf(code.trimEnd());
  return html`
    <h2>The code that runs <code>${source}</code></h2>
    <div class="source" tabindex="0" aria-label="Source of ${source}">
      ${lines.map(
        (pieces, i) =>
          html`<div class=${marks.includes(i + 1) ? 'code-line marked' : 'code-line'} data-line=${i + 1}>
            ${pieces.map(({ text, kind }) => html`<span class=${kind}>${text}</span>`)}
          </div>`,
      )}
    </div>
  `;
}
