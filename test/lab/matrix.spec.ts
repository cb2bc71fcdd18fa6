import { describe, expect, it } from '@jest/globals';
import { type Cell, differences, matrixIn, toMarkdown, withMatrix } from '../../lab/matrix.js';

const DOCUMENT = 'Before\n<!-- matrix: npm run ladder writes it -->\n\n<!-- end of the matrix -->\nAfter\n';
const held: Cell = {
  held: true,
  sentence: '',
  captures: 1,
  charges: 1,
  replies: { first: 1, identical: 2, different: 0 },
};
const broken: Cell = { ...held, held: false, captures: 2, replies: { first: 1, identical: 0, different: 1 } };
const matrix = { labels: ['1', 'service'], rows: [{ title: 'Reply lost', cells: { 1: broken, service: held } }] };

describe('the matrix of the ladder', () => {
  it('is written between the markers and read back', () => {
    const written = withMatrix(DOCUMENT, toMarkdown(matrix));
    expect(written).toMatch(/^Before\n[\s\S]*After\n$/);
    expect(matrixIn(written)).toEqual({
      labels: ['1', 'service'],
      rows: [{ title: 'Reply lost', cells: ['**broken** 2 / 1 / 1 ≠ 1', 'held 1 / 1 / 3'] }],
    });
    expect(differences(matrix, written, 'all')).toEqual([]);
  });

  it('differs from a document with another cell, without the scenario, or with one scenario more', () => {
    const written = withMatrix(DOCUMENT, toMarkdown(matrix));
    const another = { ...matrix, rows: [{ title: 'Reply lost', cells: { 1: broken, service: broken } }] };
    expect(differences(another, written, 'some')).toEqual([
      expect.stringContaining('step service: measured **broken**'),
    ]);
    const renamed = { ...matrix, rows: [{ title: 'Other', cells: { 1: broken, service: held } }] };
    expect(differences(renamed, written, 'some')).toHaveLength(2);
    expect(differences(renamed, written, 'all')).toHaveLength(3);
  });

  it('cannot be written into a document without markers', () => {
    expect(() => withMatrix('# A document', '')).toThrow('has no matrix');
  });
});
