import type ts from 'typescript';

/** A call of a named function. */
export interface Visit {
  /** Path from the root of the project. */
  file: string;
  /** `Class.method`, or the name of the function. */
  name: string;
}

/**
 * Adds a line to each named function of a compiled module that calls `visit(file, name)`. Closures have no name and are left alone.
 *
 * @param compiler the module `typescript`
 */
export function instrument(text: string, file: string, compiler: typeof ts): string {
  const { factory } = compiler;
  const call = (name: string) =>
    factory.createExpressionStatement(
      factory.createCallExpression(factory.createIdentifier('globalThis.visit?.'), undefined, [
        factory.createStringLiteral(file),
        factory.createStringLiteral(name),
      ]),
    );
  const source = compiler.createSourceFile(file, text, compiler.ScriptTarget.Latest, true, compiler.ScriptKind.JS);
  const transformer: ts.TransformerFactory<ts.SourceFile> = (context) => (root) => {
    const visit = (node: ts.Node): ts.Node => {
      const name = nameOf(node, compiler);
      const inner = compiler.visitEachChild(node, visit, context);
      return name === undefined ? inner : withStatement(inner, call(name), compiler);
    };
    return compiler.visitEachChild(root, visit, context);
  };
  const { transformed } = compiler.transform(source, [transformer]);
  return compiler.createPrinter().printFile(transformed[0] as ts.SourceFile);
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
  // A named function at the top of a module, not a closure that a function keeps in a variable.
  return parent.parent.parent.parent === node.getSourceFile() ? parent.name.text : undefined;
}

function withStatement(node: ts.Node, statement: ts.Statement, compiler: typeof ts): ts.Node {
  const { factory } = compiler;
  const body = (old: ts.ConciseBody | undefined) => {
    if (!old) return undefined;
    if (compiler.isBlock(old)) return factory.updateBlock(old, [statement, ...old.statements]);
    return factory.createBlock([statement, factory.createReturnStatement(old)], true);
  };
  if (compiler.isMethodDeclaration(node)) {
    const { modifiers, asteriskToken, name, questionToken, typeParameters, parameters, type } = node;
    const block = body(node.body) as ts.Block;
    return factory.updateMethodDeclaration(
      node,
      modifiers,
      asteriskToken,
      name,
      questionToken,
      typeParameters,
      parameters,
      type,
      block,
    );
  }
  if (compiler.isGetAccessor(node)) {
    const { modifiers, name, parameters, type } = node;
    return factory.updateGetAccessorDeclaration(node, modifiers, name, parameters, type, body(node.body));
  }
  if (compiler.isFunctionDeclaration(node)) {
    const { modifiers, asteriskToken, name, typeParameters, parameters, type } = node;
    const block = body(node.body) as ts.Block;
    return factory.updateFunctionDeclaration(
      node,
      modifiers,
      asteriskToken,
      name,
      typeParameters,
      parameters,
      type,
      block,
    );
  }
  if (compiler.isArrowFunction(node)) {
    const { modifiers, typeParameters, parameters, type, equalsGreaterThanToken } = node;
    const block = body(node.body) as ts.Block;
    return factory.updateArrowFunction(
      node,
      modifiers,
      typeParameters,
      parameters,
      type,
      equalsGreaterThanToken,
      block,
    );
  }
  if (compiler.isFunctionExpression(node)) {
    const { modifiers, asteriskToken, name, typeParameters, parameters, type } = node;
    const block = body(node.body) as ts.Block;
    return factory.updateFunctionExpression(
      node,
      modifiers,
      asteriskToken,
      name,
      typeParameters,
      parameters,
      type,
      block,
    );
  }
  return node;
}
