import { readFile } from 'node:fs/promises';
import { TargetError } from './finding.js';
import { quoted } from './http/curl.js';

/** An operation that takes a key. */
export interface KeyedOperation {
  readonly method: string;
  readonly path: string;
  readonly isKeyRequired: boolean;
  /** The options that check the operation, besides --url and the options about effects. */
  readonly options: readonly string[];
}

type Json = Record<string, unknown>;

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];
/** Bounds the examples of schemas that contain themselves. */
const MAX_DEPTH = 8;

const isObject = (value: unknown): value is Json =>
  value !== null && typeof value === 'object' && !Array.isArray(value);
const objectOf = (value: unknown): Json => (isObject(value) ? value : {});
const arrayOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/**
 * Reads an OpenAPI document of version 3 and returns its operations with a parameter in the header of the key.
 *
 * @throws TargetError if the file is not such a document
 */
export async function keyedOperations(file: string, keyHeader: string): Promise<KeyedOperation[]> {
  const document = await read(file);
  const resolve = (value: unknown): Json => {
    const { $ref } = objectOf(value);
    if (typeof $ref !== 'string') return objectOf(value);
    const names = $ref.replace(/^#\//, '').split('/');
    return objectOf(
      names.reduce<unknown>((at, name) => objectOf(at)[name.replaceAll('~1', '/').replaceAll('~0', '~')], document),
    );
  };
  return Object.entries(objectOf(document['paths'])).flatMap(([path, value]) => {
    const item = resolve(value);
    return METHODS.filter((method) => isObject(item[method])).flatMap((method) => {
      const operation = objectOf(item[method]);
      const parameters = [...arrayOf(operation['parameters']), ...arrayOf(item['parameters'])].map(resolve);
      const key = parameters.find(
        ({ in: place, name }) => place === 'header' && String(name).toLowerCase() === keyHeader.toLowerCase(),
      );
      if (!key) return [];
      const filled = fillPath(path, parameters);
      const body = bodyOf(operation, resolve);
      const options = [
        ...(method === 'post' ? [] : ['--method', method.toUpperCase()]),
        ...['--path', filled, '--body', body === undefined ? '' : JSON.stringify(body)],
        ...(keyHeader === 'Idempotency-Key' ? [] : ['--key-header', keyHeader]),
        ...(key['required'] === true ? [] : ['--missing-key', 'accepted']),
      ];
      return [{ method: method.toUpperCase(), path, isKeyRequired: key['required'] === true, options }];
    });
  });
}

async function read(file: string): Promise<Json> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new TargetError(`--openapi: ${(error as Error).message}`);
  });
  try {
    const document: unknown = JSON.parse(text);
    if (isObject(document) && isObject(document['paths'])) return document;
  } catch {
    // The error below says what was expected.
  }
  throw new TargetError(`--openapi ${file}: expected an OpenAPI document in JSON, with paths`);
}

/** Replaces the parameters of the path that have an example. */
const fillPath = (path: string, parameters: readonly Json[]) =>
  path.replaceAll(/\{([^}]+)\}/g, (whole, wanted: string) => {
    const { example, schema } = parameters.find(({ in: place, name }) => place === 'path' && name === wanted) ?? {};
    const value = example ?? objectOf(schema)['example'];
    return typeof value === 'string' || typeof value === 'number' ? encodeURIComponent(value) : whole;
  });

/** The example of a JSON body; undefined if the operation has no JSON body. */
function bodyOf(operation: Json, resolve: (value: unknown) => Json): unknown {
  const content = objectOf(resolve(operation['requestBody'])['content']);
  const media = Object.entries(content).find(([type]) => /json/i.test(type))?.[1];
  if (media === undefined) return undefined;
  const { example, examples, schema } = objectOf(media);
  const [first] = Object.values(objectOf(examples));
  return example ?? objectOf(resolve(first))['value'] ?? exampleOf(schema, resolve, 0);
}

function exampleOf(value: unknown, resolve: (value: unknown) => Json, depth: number): unknown {
  const schema = resolve(value);
  const { example, default: preset, enum: choices, properties, items } = schema;
  const first = example ?? arrayOf(schema['examples'])[0] ?? preset ?? arrayOf(choices)[0];
  if (first !== undefined || depth === MAX_DEPTH) return first ?? null;
  const [part] = [...arrayOf(schema['oneOf']), ...arrayOf(schema['anyOf'])];
  if (part !== undefined) return exampleOf(part, resolve, depth + 1);
  const parts = arrayOf(schema['allOf']);
  if (parts.length > 0) return Object.assign({}, ...parts.map((each) => exampleOf(each, resolve, depth + 1))) as Json;
  if (isObject(properties)) {
    const required = arrayOf(schema['required']);
    const wanted = Object.entries(properties).filter(([name]) => required.includes(name));
    return Object.fromEntries(wanted.map(([name, member]) => [name, exampleOf(member, resolve, depth + 1)]));
  }
  if (items !== undefined) return [exampleOf(items, resolve, depth + 1)];
  return schema['type'] === 'string' ? 'text' : schema['type'] === 'boolean' ? true : 1;
}

/** A line for each operation, and the command that checks it. */
export function listText(operations: readonly KeyedOperation[], keyHeader: string): string {
  if (operations.length === 0) return `No operation of the document takes ${keyHeader}.\n`;
  return operations
    .map(({ method, path, isKeyRequired, options }) => {
      const words = options.map((word) => (/^[\w/.-]+$/.test(word) ? word : quoted(word)));
      return `${method} ${path}: the key is ${isKeyRequired ? 'required' : 'optional'}\n  idempotency-conformance --url URL ${words.join(' ')}\n`;
    })
    .join('');
}
