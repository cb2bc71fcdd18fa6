// Goal: keep the clients that docs/clients.md shows equal to the files that `npm run test:clients` runs, with pinned libraries.
// Method: compare each block of the document with the file that the line above the block links to, and read the files with the versions.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { CLIENTS } from '../clients/clients.js';
import { LOSSES } from '../clients/losses.js';

const FOLDER = 'test/clients';
const DOCUMENT = readFileSync('docs/clients.md', 'utf8');
const read = (file: string) => readFileSync(`${FOLDER}/${file}`, 'utf8');

/** The blocks of code of the document, by the file that the line above the block links to. */
const blocks = new Map(
  [...DOCUMENT.matchAll(/\]\(\.\.\/test\/clients\/([^)]+)\)\n\n```\w+\n([\s\S]*?)^```$/gm)].map(
    ([, file = '', text = '']) => [file, text],
  ),
);

describe('docs/clients.md', () => {
  it('shows the file of every client that the suite runs, and no other code', () => {
    expect([...blocks.keys()].sort()).toEqual([...new Set(CLIENTS.map(({ file }) => file))].sort());
    expect(DOCUMENT.match(/^```\w+$/gm)).toHaveLength(blocks.size);
  });

  it.each([...blocks])('shows the client %s as the suite runs it', (file, text) => {
    expect(text).toBe(read(file));
  });

  it('has a row for every client in the table of the clients', () => {
    for (const { title } of CLIENTS)
      expect(DOCUMENT).toMatch(new RegExp(`^\\| ${title} +\\|(?: yes +\\|){${LOSSES.length}}$`, 'm'));
  });
});

describe('the libraries of the clients', () => {
  it('pins an exact version of every library', () => {
    const { dependencies } = JSON.parse(read('javascript/package.json')) as { dependencies: Record<string, string> };
    expect(Object.values(dependencies).filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
    const requirements = read('python/requirements.txt').trim().split('\n');
    expect(requirements.filter((line) => !/^[\w-]+==[\w.]+$/.test(line))).toEqual([]);
    const versions = [...read('java/pom.xml').matchAll(/<version>(.*)<\/version>/g)].map(([, version]) => version);
    expect(versions.filter((version) => !/^[\d.]+$/.test(version ?? ''))).toEqual([]);
  });

  it('names no download address in the lock file of npm', () => {
    expect(read('javascript/package-lock.json')).not.toMatch(/"resolved"/);
  });
});
