import type { Type } from '@nestjs/common';
import type { DiscoveryService, MetadataScanner } from '@nestjs/core';
import type { OpenAPIObject } from '@nestjs/swagger';
import { IDEMPOTENCY_KEY_MAX_LENGTH, IDEMPOTENT, type IdempotentHandler } from '../idempotency/index.js';
import { problemResponses } from './openapi.problems.js';
import type { ProblemCode } from './problem.js';

/** An idempotency key, bare or as a quoted string. In a quoted string, \" and \\ stand for one character each. */
export const IDEMPOTENCY_KEY_SCHEMA = {
  type: 'string' as const,
  pattern: `^(?:[!#-~]{1,${IDEMPOTENCY_KEY_MAX_LENGTH}}|"(?:[!#-\\[\\]-~]|\\\\["\\\\]){1,${IDEMPOTENCY_KEY_MAX_LENGTH}}")$`,
};

/**
 * The key of the examples for an operation, for example `docs_charges_1`. Each path has its own, because the service refuses a key that another
 * request has used.
 */
export const exampleKeyOf = (path: string) => {
  const names = path.split('/').filter((part) => /^\w/.test(part));
  return ['docs', ...names, 1].join('_');
};

/** Metadata of a handler: the codes of its own problems. */
export const PROBLEM_CODES = 'http:problem-codes';

/** The problems of every operation that takes a key. An operation that requires the key has one more. */
const KEY_PROBLEMS: ProblemCode[] = [
  'idempotency_key_invalid',
  'idempotency_key_in_progress',
  'idempotency_key_reused',
  'database_unavailable',
  'account_moving',
];
/** The problems of every operation that needs an account, because each account has limits. */
const LIMIT_PROBLEMS: ProblemCode[] = ['rate_limited', 'overloaded'];

type Handler = (...args: unknown[]) => unknown;
type Operation = NonNullable<OpenAPIObject['paths'][string]['post']>;

/** The id of a handler's operation. */
export const operationId = (controller: string, method: string) => `${controller}_${method}`;

/** A handler and its controller, because a decorator of the controller holds for each of its handlers. */
export type Decorated = readonly [handler: Handler, controller: Type];

/** Finds every handler by the id of its operation. */
export function handlersOf(discovery: DiscoveryService, scanner: MetadataScanner): Map<string, Decorated> {
  const handlers = new Map<string, Decorated>();
  for (const { metatype } of discovery.getControllers()) {
    const controller = metatype as Type;
    const prototype = controller.prototype as Record<string, Handler>;
    for (const method of scanner.getAllMethodNames(prototype)) {
      const handler = prototype[method];
      if (handler) handlers.set(operationId(controller.name, method), [handler, controller]);
    }
  }
  return handlers;
}

/** Adds to a document what the decorators of the handlers say: `@Idempotent()` and `@ApiProblems()`. Nothing is declared twice. */
export function documentHandlers(document: OpenAPIObject, handlers: ReadonlyMap<string, Decorated>): void {
  for (const [path, { get, put, post, patch, delete: remove }] of Object.entries(document.paths)) {
    for (const operation of [get, put, post, patch, remove]) {
      const decorated = handlers.get(operation?.operationId ?? '');
      if (operation && decorated) documentHandler(operation, decorated, exampleKeyOf(path));
    }
  }
}

function documentHandler(operation: Operation, [handler, controller]: Decorated, exampleKey: string): void {
  const key = (Reflect.getMetadata(IDEMPOTENT, handler) ?? Reflect.getMetadata(IDEMPOTENT, controller)) as
    IdempotentHandler['key'] | undefined;
  const codes = new Set<ProblemCode>();
  if (key) {
    operation.parameters = [...(operation.parameters ?? []), keyHeader(key, exampleKey)];
    if (key === 'required') codes.add('idempotency_key_missing');
    KEY_PROBLEMS.forEach((code) => codes.add(code));
  }
  const own = (Reflect.getMetadata(PROBLEM_CODES, handler) ?? []) as ProblemCode[];
  own.forEach((code) => codes.add(code));
  if (codes.has('unauthorized')) LIMIT_PROBLEMS.forEach((code) => codes.add(code));
  Object.assign(operation.responses, problemResponses(codes));
}

const keyHeader = (key: IdempotentHandler['key'], example: string) => ({
  name: 'Idempotency-Key',
  in: 'header' as const,
  required: key === 'required',
  description:
    'Names the request: a new value for every new request, and the same value for every retry of that request. 1 to 255 visible ASCII characters, bare or in double quotes. Kept for 24 hours by default.',
  schema: { ...IDEMPOTENCY_KEY_SCHEMA, example },
});
