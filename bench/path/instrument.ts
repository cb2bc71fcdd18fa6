import type ts from 'typescript';

/** A call of a named function. */
export interface Visit {
  /** Path from the root of the project. */
  file: string;
  /** `Class.method`, or the name of the function. */
  name: string;
}

/**
 * Adds a call of `visit(file, name)` to the beginning of each named function of a compiled module. Closures have no name and are left alone.
 *
 * @param compiler the module `typescript`
 */
export function instrument(text: string, file: string, compiler: typeof ts): string {
  const source = compiler.createSourceFile(file, text, compiler.ScriptTarget.Latest, true, compiler.ScriptKind.JS);
  const additions: { position: number; code: string }[] = [];
  const visit = (node: ts.Node): void => {
    const name = nameOf(node, compiler);
    const { body } = node as { body?: ts.ConciseBody };
    if (name !== undefined && body) {
      const call = `globalThis.visit?.(${JSON.stringify(file)}, ${JSON.stringify(name)})`;
      if (compiler.isBlock(body)) additions.push({ position: body.getStart() + 1, code: `${call};` });
      else additions.push({ position: body.getStart(), code: `(${call}, ` }, { position: body.getEnd(), code: ')' });
    }
    compiler.forEachChild(node, visit);
  };
  visit(source);
  // Inserts from the end of the text, because an insertion changes the positions of everything behind it.
  return additions
    .toSorted((a, b) => b.position - a.position)
    .reduce((done, { position, code }) => done.slice(0, position) + code + done.slice(position), text);
}

function nameOf(node: ts.Node, compiler: typeof ts): string | undefined {
  if (compiler.isMethodDeclaration(node) || compiler.isGetAccessor(node)) {
    const { parent } = node;
    const owner = compiler.isClassLike(parent) && parent.name ? `${parent.name.text}.` : '';
    return `${owner}${node.name.getText()}`;
  }
  if (compiler.isFunctionDeclaration(node)) return node.name?.text;
  if (!compiler.isArrowFunction(node) && !compiler.isFunctionExpression(node)) return undefined;
  const { parent } = node;
  if (!compiler.isVariableDeclaration(parent) || !compiler.isIdentifier(parent.name)) return undefined;
  // Only a function at the top level of the module has a name. A closure in a local variable counts as part of its function.
  return parent.parent.parent.parent === node.getSourceFile() ? parent.name.text : undefined;
}
