import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const FOLDER = 'docs/adr';
const INDEX = readFileSync(join(FOLDER, 'README.md'), 'utf8');
/** Words of about one page. */
const MAX_WORDS = 550;

const records = readdirSync(FOLDER)
  .filter((name) => /^\d{4}-/.test(name))
  .map((name) => ({ name, number: Number(name.slice(0, 4)), text: readFileSync(join(FOLDER, name), 'utf8') }));

describe('the architecture decisions', () => {
  it('numbers the decision records from 1 without a gap', () => {
    expect(records.map(({ number }) => number)).toEqual(records.map((_, i) => i + 1));
  });

  it.each(records)('finds a number, a date, a status, three sections and at most one page in $name', (record) => {
    const { number, text } = record;
    expect(text).toMatch(new RegExp(`^# ${number}\\. \\w.*\\n\\n- \\*\\*Date:\\*\\* 20\\d\\d-\\d\\d-\\d\\d`));
    expect(text).toMatch(/\n- \*\*Status:\*\* (accepted|replaced)/);
    expect(text.match(/^## .*/gm)).toEqual(['## Context', '## Decision', '## Consequences']);
    expect(text.split(/\s+/).length).toBeLessThanOrEqual(MAX_WORDS);
  });

  it.each(records)('lists $name in the index, with its title and date', ({ name, number, text }) => {
    const [, title, date] = /^# \d+\. (.*)\n\n- \*\*Date:\*\* ([\d-]+)/.exec(text) ?? [];
    const row = INDEX.split('\n').find((line) => line.includes(`[${title}](${name})`)) ?? '';
    expect(row).toMatch(new RegExp(`^\\| +${number} \\|`));
    expect(row).toContain(`| ${date} |`);
  });

  it('finds the record of every number to which a source or a document refers', () => {
    const files = execFileSync('git', ['ls-files', '*.ts', '*.md'], { encoding: 'utf8' }).trim().split('\n');
    const numbers = files.flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/\bADR (\d+)\b|docs\/adr\/(\d{4})/g)].map(([, short, long]) =>
        Number(short ?? long),
      ),
    );
    expect(numbers.length).toBeGreaterThan(5);
    expect(numbers.filter((number) => !records.some((record) => record.number === number))).toEqual([]);
  });
});
