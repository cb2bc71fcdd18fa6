// Goal: docs/field.md says what the script found, with a reason for each failure.
// Method: render the document from the results, and compare the results with the list of libraries.
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { CHECKS } from '../../conformance/checks/checks.js';
import { fieldDocument } from '../../conformance/field/document.js';
import { LIBRARIES } from '../../conformance/field/libraries/all.js';
import type { Library } from '../../conformance/field/library.js';
import { readOptions } from '../../conformance/field/options.js';
import { differences, merge, readResults, type Row } from '../../conformance/field/results.js';

const results = await readResults();
const rowOf = ({ name }: Library) => results.find((row) => row.name === name);
const reasonsOf = ({ reasons, notPromised }: Library) => ({ ...reasons, ...notPromised });
const failuresOf = (library: Library) =>
  (rowOf(library)?.findings ?? []).filter(({ verdict }) => verdict === 'failed').map(({ id }) => id);

/** The file in which each package manager finds the version. */
const MANIFESTS = { npm: 'package.json', pip: 'requirements.txt', go: 'go.mod', cargo: 'Cargo.toml', maven: 'pom.xml' };

describe('the field', () => {
  it('has at least twelve libraries in at least five languages, besides this project', () => {
    const measured = LIBRARIES.slice(1).filter((library) => rowOf(library));
    expect(new Set(measured.map(({ folder }) => folder)).size).toBeGreaterThanOrEqual(12);
    expect(new Set(measured.map(({ language }) => language)).size).toBeGreaterThanOrEqual(5);
  });

  it('has a result of the listed version for each library, and this project passes every check', () => {
    expect(results.map(({ name, version }) => [name, version])).toEqual(
      LIBRARIES.map(({ name, version }) => [name, version]),
    );
    expect(results[0]?.findings.map(({ verdict }) => verdict)).toEqual(CHECKS.map(() => 'passed'));
  });

  it.each(LIBRARIES.map((library) => [library.name, library] as const))(
    'gives a reason for each failure of %s, and no reason for a check that passes',
    (_name, library) => {
      const [explained, failed] = [Object.keys(reasonsOf(library)), failuresOf(library)];
      expect(failed.filter((id) => !explained.includes(id))).toEqual([]);
      // A race that was won in the last measurement needs its reason all the same.
      expect(explained.filter((id) => !failed.includes(id) && !(id in (library.races ?? {})))).toEqual([]);
    },
  );

  it.each(LIBRARIES.slice(1).map((library) => [library.name, library] as const))(
    'pins the version of %s in its manifest',
    (_name, { folder, toolchain, version }) => {
      const manifest = toolchain === 'this project' ? '' : MANIFESTS[toolchain];
      expect(readFileSync(`conformance/field/${folder}/${manifest}`, 'utf8')).toContain(version);
    },
  );

  it('has a document that the script wrote from the results, with links to folders that exist', async () => {
    const document = readFileSync('docs/field.md', 'utf8');
    expect(document).toBe(await fieldDocument(LIBRARIES, results));
    for (const [, path] of document.matchAll(/\]\(\.\.\/(conformance[^)]*)\)/g))
      expect(existsSync(path ?? '')).toBe(true);
  });

  const row = (version: string, harm?: 'double effect' | 'stuck key'): Row => ({
    name: 'a',
    version,
    date: '2026-11-29',
    findings: [{ id: 'crash', verdict: harm ? 'failed' : 'passed', ...(harm && { harm }), detail: 'in 3 s' }],
  });
  const racing = [{ ...(LIBRARIES[0] as Library), name: 'a', races: { crash: 'double effect' } }];

  it('keeps a race that an earlier run of the same version has lost, and no other failure', () => {
    const harmAfter = (libraries: Library[], before: Row, now: Row) =>
      merge(libraries, [before], [{ ...now, date: '2026-11-30' }])[0]?.findings.map(({ harm, date }) => [harm, date]);
    expect(harmAfter(racing, row('1', 'double effect'), row('1'))).toEqual([['double effect', '2026-11-29']]);
    expect(harmAfter(racing, row('1', 'double effect'), row('2'))).toEqual([[undefined, undefined]]);
    expect(harmAfter(racing, row('1', 'stuck key'), row('1'))).toEqual([[undefined, undefined]]);
    expect(harmAfter(racing, row('1'), row('1', 'double effect'))).toEqual([['double effect', undefined]]);
    expect(harmAfter([{ ...(racing[0] as Library), races: {} }], row('1', 'double effect'), row('1'))).toEqual([
      [undefined, undefined],
    ]);
  });

  it('finds another verdict, another harm and another version, and nothing else', () => {
    expect(differences([], [row('1', 'stuck key')], [{ ...row('1', 'stuck key'), date: '2026-11-30' }])).toEqual([]);
    expect(differences([], [row('1', 'stuck key')], [row('1')])).toHaveLength(1);
    expect(differences([], [row('1', 'stuck key')], [row('1', 'double effect')])).toHaveLength(1);
    expect(differences([], [row('1')], [row('2')])).toHaveLength(1);
    expect(differences([], [], [row('1')])).toHaveLength(1);
    expect(differences(racing, [row('1', 'double effect')], [row('1')])).toEqual([]);
    expect(differences(racing, [row('1', 'double effect')], [row('1', 'stuck key')])).toHaveLength(1);
  });

  it('selects libraries by name and by language, and refuses other words', () => {
    const select = (...args: string[]) => readOptions(args, LIBRARIES).libraries.map(({ name }) => name);
    expect(select()).toHaveLength(LIBRARIES.length);
    expect(select('--language', 'go')).toEqual(['gofiber-v3', 'gofiber-v2']);
    expect(select('--only', 'idemkit')).toEqual(['idemkit']);
    expect(() => select('--only', 'other')).toThrow('--only other: expected one of this project, ');
  });
});
