import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Finding } from '../finding.js';
import type { Library } from './library.js';

/** The file in which the script keeps its findings. */
export const RESULTS_FILE = resolve('conformance/field/results.json');

/** A finding of the kit. The detail may differ between two runs, the rest must not. */
export interface FieldFinding extends Pick<Finding, 'id' | 'verdict' | 'harm' | 'detail'> {
  /** How often a check that races was run until the race was lost. */
  readonly runs?: number;
  /** The date of the run that lost the race, if it was earlier than the run of the row. */
  readonly date?: string;
}

/** The findings of one library. */
export interface Row {
  readonly name: string;
  readonly version: string;
  readonly date: string;
  readonly findings: readonly FieldFinding[];
}

export const readResults = async (): Promise<Row[]> => JSON.parse(await readFile(RESULTS_FILE, 'utf8')) as Row[];

/**
 * Replaces the rows that were measured, and keeps the order of the libraries. If an earlier run of the same version has lost a race, the harm stays
 * in the row, because a later run that wins the race does not refute it.
 */
export const merge = (libraries: readonly Library[], old: readonly Row[], measured: readonly Row[]): Row[] =>
  libraries.flatMap(({ name, races = {} }) => {
    const [row, before] = [measured, old].map((rows) => rows.find((candidate) => candidate.name === name));
    if (!row) return before ?? [];
    const lost = (before?.version === row.version ? before.findings : [])
      .filter(({ id, harm }) => id in races && harm === races[id])
      .map((finding) => ({ date: before?.date, ...finding }));
    const findings = row.findings.map((finding) =>
      finding.verdict === 'passed' ? (lost.find(({ id }) => id === finding.id) ?? finding) : finding,
    );
    return { ...row, findings };
  });

/** The verdict, and for a failure its harm: what two runs must have in common. */
export const verdictText = ({ verdict, harm }: FieldFinding) => harm ?? verdict;

/** The differences between the verdicts of two runs, as sentences. A race that is listed for a library may be won in one run and lost in the other. */
export function differences(
  libraries: readonly Library[],
  committed: readonly Row[],
  measured: readonly Row[],
): string[] {
  return measured.flatMap(({ name, version, findings }) => {
    const before = committed.find((row) => row.name === name);
    if (!before) return [`${name}: is not in the committed table`];
    if (before.version !== version)
      return [`${name}: the committed table has version ${before.version}, not ${version}`];
    const races = libraries.find((library) => library.name === name)?.races ?? {};
    return findings.flatMap((finding) => {
      const old = before.findings.find(({ id }) => id === finding.id);
      const [was, is] = [old && verdictText(old), verdictText(finding)];
      const isRace = [was, is].every((text) => text === 'passed' || text === races[finding.id]);
      return was === is || isRace
        ? []
        : [`${name}, ${finding.id}: ${was ?? 'no verdict'} in the committed table, now ${is}: ${finding.detail}`];
    });
  });
}
