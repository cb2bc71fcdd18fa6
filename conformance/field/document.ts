import { resolve } from 'node:path';
import { format, resolveConfig } from 'prettier';
import type { Library } from './library.js';
import { INTRODUCTION } from './introduction.js';
import { type FieldFinding, type Row, verdictText } from './results.js';

export const DOCUMENT_FILE = resolve('docs/field.md');

/** The checks of the first table: what a retry can cost. All others are in the second table. */
const OF_EFFECTS = ['duplicate', 'storm', 'replicas', 'hang-up', 'expiry', 'crash', 'mismatch', 'scope'];

/** How a verdict, or the harm of a failure, is written in a cell. */
const CELLS: Readonly<Record<string, string>> = { passed: '✓', skipped: '–', undecided: '?' };

const MAX_DETAIL = 300;

interface Entry {
  readonly library: Library;
  readonly row: Row;
}

/** The text of `docs/field.md`, formatted. Libraries without a result are left out. */
export async function fieldDocument(libraries: readonly Library[], results: readonly Row[]): Promise<string> {
  const entries = libraries.flatMap((library) => {
    const row = results.find(({ name }) => name === library.name);
    return row ? [{ library, row }] : [];
  });
  const ids = [...new Set(entries.flatMap(({ row }) => row.findings.map(({ id }) => id)))];
  const text = [
    INTRODUCTION,
    '## What a retry can cost',
    table(entries, OF_EFFECTS),
    '## What else a client sees',
    table(
      entries,
      ids.filter((id) => !OF_EFFECTS.includes(id)),
    ),
    '## Library by library',
    ...entries.map(section),
  ].join('\n\n');
  return format(text, { ...(await resolveConfig(DOCUMENT_FILE)), parser: 'markdown' });
}

function table(entries: readonly Entry[], ids: readonly string[]): string {
  const rows = entries.map(({ library, row }) => {
    const cells = ids.map((id) =>
      cell(
        library,
        row.findings.find((finding) => finding.id === id),
      ),
    );
    return [linkOf(library), library.version, library.language, library.store, ...cells];
  });
  const head = ['library', 'version', 'language', 'keys in', ...ids.map((id) => `\`${id}\``)];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const linkOf = ({ name }: Library) =>
  `[${name}](#${name
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-')})`;

function cell({ notPromised = {}, races = {} }: Library, finding: FieldFinding | undefined): string {
  if (!finding) return '–';
  const race = races[finding.id];
  if (race !== undefined && finding.verdict === 'failed')
    return finding.id in notPromised ? `(sometimes ${race})` : `sometimes ${race}`;
  const text = CELLS[finding.verdict] ?? verdictText(finding);
  return finding.verdict === 'failed' && finding.id in notPromised ? `(${text})` : text;
}

function section({ library, row }: Entry): string {
  const {
    name,
    promise,
    configuration,
    kit,
    folder,
    ttl,
    leaseSeconds,
    notPromised = {},
    races = {},
    reasons,
  } = library;
  const failed = row.findings.filter(({ id, verdict }) => verdict === 'failed' || id in races);
  const failures = failed.map((finding) => {
    const { id, detail, runs, date } = finding;
    const why = notPromised[id] ?? reasons[id] ?? 'No reason is known.';
    const lost = finding.harm === races[id] ? `was lost in run ${runs}` : `was not lost in ${runs} runs`;
    const times = runs === undefined ? '' : ` The race ${lost} of the check${date ? ` on ${date}` : ''}.`;
    return `- \`${id}\`, ${id in races ? `sometimes ${races[id]}` : verdictText(finding)}${id in notPromised ? ', not promised' : ''}: ${why}${times} Observed: \`${shortened(detail)}\``;
  });
  const crash = row.findings.find(({ id, verdict }) => id === 'crash' && verdict === 'passed');
  return [
    `### ${name}`,
    `Measured on ${row.date}. ${configuration} ${folder === '' ? '' : `The server is in [\`conformance/field/${folder}\`](../conformance/field/${folder}).`}`,
    `Its documentation promises: ${promise.text} ([documentation](${promise.address})).`,
    `Options of the kit: \`${commandLine([...kit, '--lease', String(leaseSeconds), ...(ttl ? ['--ttl', String(ttl.seconds)] : [])])}\``,
    ...(failures.length > 0 ? [failures.join('\n')] : ['No check failed.']),
    ...(crash ? [`After a crash: \`${shortened(crash.detail)}\``] : []),
  ].join('\n\n');
}

const commandLine = (words: readonly string[]) =>
  words.map((word) => (/^[\w./:-]+$/.test(word) ? word : `'${word}'`)).join(' ');

function shortened(detail: string): string {
  const line = detail.replaceAll('`', "'").replaceAll(/\s+/g, ' ');
  return line.length > MAX_DETAIL ? `${line.slice(0, MAX_DETAIL)} …` : line;
}
