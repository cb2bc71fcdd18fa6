// Goal: keep the OpenAPI document true: every answer documented, every example working.
// Method: read /openapi.json and /docs, send the examples, and compare the answers with the schemas.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { documentHandlers } from '../../src/http/openapi.operations.js';
import { PROBLEMS } from '../../src/http/problem.js';
import { Idempotent } from '../../src/idempotency/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';

interface Schema {
  $ref?: string;
  type?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  enum?: unknown[];
  pattern?: string;
  additionalProperties?: unknown;
  example?: unknown;
}

interface Media {
  schema?: Schema;
  examples?: Record<string, { value: Record<string, unknown> }>;
}

interface Operation {
  description?: string;
  security?: object[];
  parameters?: {
    name: string;
    in: string;
    required?: boolean;
    description?: string;
    schema: Schema;
    example?: unknown;
  }[];
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, { description?: string; content?: Record<string, Media> }>;
}

interface OpenApi {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

/** Documents whose requests a reader may send beside the examples of /docs. */
const WITH_REQUESTS = ['README.md', 'docs/operations.md', 'docs/strategies.md'];

let database: TestDatabase;
let service: TestService;
let document: OpenApi;
let operations: { name: string; operation: Operation }[];

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url);
  document = (await service.http.get('/openapi.json').expect(200)).body as OpenApi;
  operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })),
  );
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

function operationOf(name: string): Operation {
  const found = operations.find((operation) => operation.name === name);
  if (!found) throw new Error(`${name} is not documented`);
  return found.operation;
}

const resolve = (schema: Schema | undefined): Schema =>
  schema?.$ref ? (document.components.schemas[schema.$ref.split('/').at(-1) ?? ''] ?? {}) : (schema ?? {});

/** The request body in the examples of the document. */
const exampleBody = (operation: Operation) =>
  Object.fromEntries(
    Object.entries(resolve(operation.requestBody?.content['application/json']?.schema).properties ?? {}).flatMap(
      ([name, { example }]) => (example === undefined ? [] : [[name, example]]),
    ),
  );

const exampleParameter = (operation: Operation, name: string) => {
  const parameter = operation.parameters?.find((candidate) => candidate.name === name);
  return String(parameter?.example ?? parameter?.schema.example);
};

/** Expects exactly the members that the document gives for a reply. */
function expectDocumented(body: object, operation: Operation, status: number): void {
  const { properties = {}, required } = resolve(operation.responses[status]?.content?.['application/json']?.schema);
  expect(Object.keys(body).sort()).toEqual(Object.keys(properties).sort());
  expect([...(required ?? [])].sort()).toEqual(Object.keys(properties).sort());
}

describe('/docs', () => {
  it('serves /docs as a page whose scripts and styles exist', async () => {
    const { text } = await service.http
      .get('/docs')
      .expect(200)
      .expect('content-type', /^text\/html/);
    const assets = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(
      ([, asset = '']) => new URL(asset, `${service.url}/docs`),
    );
    expect(assets.length).toBeGreaterThan(2);
    for (const { pathname, origin } of assets) {
      expect(origin).toBe(service.url);
      await service.http.get(pathname).expect(200);
    }
  });

  it('serves a section in /docs/errors for every error', async () => {
    const { text } = await service.http
      .get('/docs/errors')
      .expect(200)
      .expect('content-type', /^text\/html/);
    for (const [code, { status, title }] of Object.entries(PROBLEMS)) {
      expect(text).toMatch(new RegExp(`id="${code}"[^\n]*${status}[^\n]*${title}`));
    }
  });
});

describe('/openapi.json', () => {
  it('documents the operations of the service in /openapi.json', () => {
    expect(document.openapi).toMatch(/^3\./);
    expect(operations.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'POST /charges',
        'GET /charges',
        'GET /charges/{id}',
        'GET /idempotency-keys/{key}',
        'GET /health/live',
        'GET /health/ready',
        'GET /metrics',
      ]),
    );
  });

  it('documents the success and the failures of every operation', () => {
    const lacking = operations.flatMap(({ name, operation: { responses, security } }) => {
      const expected = [/^2/, ...(security ? [/401/, /429/, /503/] : [])];
      const missing = expected.filter(
        (status) => !Object.keys(responses).some((documented) => status.test(documented)),
      );
      return missing.map((status) => `${name} lacks ${status.source}`);
    });
    expect(lacking).toEqual([]);
  });

  it('documents the lifetime of keys and the errors of a key for every operation that takes one', () => {
    const keyed = operations.filter(({ operation }) =>
      operation.parameters?.some(({ name }) => name === 'Idempotency-Key'),
    );
    expect(keyed.map(({ name }) => name)).toContain('POST /charges');
    for (const { operation } of keyed) {
      expect(operation.parameters?.find(({ name }) => name === 'Idempotency-Key')?.description).toMatch(/24 hours/);
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(['400', '409', '422', '503']));
    }
  });

  it('documents the key of every operation of a controller that is idempotent as a whole, unless a handler says otherwise', () => {
    class Controller {
      create() {}
      @Idempotent({ key: 'optional' })
      change() {}
    }
    Idempotent()(Controller);
    const { create, change } = Controller.prototype;
    const operation = (operationId: string) => ({ operationId, responses: {} });
    const paths = { '/things': { post: operation('create'), patch: operation('change') } };
    const controllers = new Map([
      ['create', [create, Controller] as const],
      ['change', [change, Controller] as const],
    ]);
    documentHandlers({ openapi: '3.0.0', info: { title: 'A test', version: '1' }, paths }, controllers);
    const key = { name: 'Idempotency-Key', in: 'header', schema: { example: 'docs_things_1' } };
    expect(paths['/things']).toMatchObject({
      post: { parameters: [{ ...key, required: true }], responses: { 400: {}, 409: {}, 422: {} } },
      patch: { parameters: [{ ...key, required: false }] },
    });
  });

  it('documents that POST /charges is idempotent by a required key, and all its statuses', () => {
    const operation = operationOf('POST /charges');
    expect(operation.description).toMatch(/\bidempotent\b(?!-)/i);
    expect(operation.description).toMatch(/same status and the same bytes.*Idempotent-Replayed/);
    const header = operation.parameters?.find(({ name }) => name === 'Idempotency-Key');
    expect(header).toMatchObject({ in: 'header', required: true });
    const pattern = new RegExp(header?.schema.pattern ?? '');
    for (const key of ['k', 'k'.repeat(255), '"order_1"', '"a\\\\b"'])
      expect([key, pattern.test(key)]).toEqual([key, true]);
    for (const key of ['', 'k'.repeat(256), '"order_1', 'a b', 'caf\u00e9'])
      expect([key, pattern.test(key)]).toEqual([key, false]);
    const statuses = ['200', '400', '401', '402', '409', '413', '415', '422', '429', '500', '503', '504'];
    expect(Object.keys(operation.responses).sort()).toEqual(statuses);
  });

  it('documents for every request body, and for no reply, that other members are refused', () => {
    const { schemas } = document.components;
    const closed = Object.keys(schemas).filter((name) => schemas[name]?.additionalProperties === false);
    const bodies = [
      'ChangeCustomer',
      'CreateCharge',
      'CreateRefund',
      'OrderLineInput',
      'PlaceOrder',
      'ReplaceCustomer',
      'SetStock',
    ];
    expect(closed.sort()).toEqual(bodies);
  });

  it('documents an example of every parameter in a path', () => {
    const lacking = operations.flatMap(({ name, operation: { parameters = [] } }) =>
      parameters
        .filter((parameter) => parameter.in === 'path' && (parameter.example ?? parameter.schema.example) === undefined)
        .map((parameter) => `${name} ${parameter.name}`),
    );
    expect(lacking).toEqual([]);
  });

  it('documents an example key for each operation that the README and the other documents do not use, because a used key is refused', () => {
    const ofDocs = operations.flatMap(({ operation: { parameters = [] } }) =>
      parameters.flatMap(({ name, schema }) => (name === 'Idempotency-Key' ? [String(schema.example)] : [])),
    );
    expect(ofDocs.length).toBeGreaterThan(2);
    expect([...new Set(ofDocs)]).toEqual(ofDocs);
    const ofDocuments = WITH_REQUESTS.flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/Idempotency-Key: ([\w-]+)/g)].map(([, key = '']) => key),
    );
    expect(ofDocuments.length).toBeGreaterThan(2);
    expect(ofDocs.filter((key) => ofDocuments.includes(key))).toEqual([]);
  });

  it('documents an example of an order that the other documents do not place, because other content is refused', () => {
    const { order_id: ofDocs } = exampleBody(operationOf('POST /orders'));
    const ofDocuments = WITH_REQUESTS.flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/"order_id": "([\w-]+)"/g)].map(([, id = '']) => id),
    );
    expect(ofDocuments.length).toBeGreaterThan(0);
    expect(ofDocuments).not.toContain(ofDocs);
    expect(exampleParameter(operationOf('GET /orders/{order_id}'), 'order_id')).toBe(ofDocs);
  });

  it('documents examples of requests that succeed when they are sent', async () => {
    const create = operationOf('POST /charges');
    const key = exampleParameter(create, 'Idempotency-Key');
    const body = exampleBody(create);
    const charged = await service.charge(key, body);
    expect(charged.status).toBe(200);
    expectDocumented(charged.body as object, create, 200);
    expect(charged.body).toMatchObject(body);

    const { id } = charged.body as { id: string };
    const found = await service.http.get(`/charges/${id}`).expect(200);
    expectDocumented(found.body as object, operationOf('GET /charges/{id}'), 200);
    const listed = await service.http.get('/charges').expect(200);
    expectDocumented(listed.body as object, operationOf('GET /charges'), 200);

    const lookUp = operationOf('GET /idempotency-keys/{key}');
    const known = await service.http.get(`/idempotency-keys/${exampleParameter(lookUp, 'key')}`).expect(200);
    expectDocumented(known.body as object, lookUp, 200);
    expect(known.body).toMatchObject({ idempotency_key: key, operation: 'POST /charges' });
  });

  it('documents an example of every error with the shape and the status of a problem', () => {
    const { required = [], properties = {} } = document.components.schemas['ProblemDetails'] ?? {};
    expect(required).toEqual(['type', 'title', 'status', 'detail', 'code', 'retryable', 'outcome']);
    const shown = operations.flatMap(({ name, operation }) =>
      Object.entries(operation.responses)
        .filter(([status]) => status >= '400')
        .map(([status, { content }]) => ({
          name,
          status,
          examples: content?.['application/problem+json']?.examples ?? {},
        })),
    );
    expect(shown.length).toBeGreaterThan(20);
    for (const { name, status, examples } of shown) {
      expect({ name, status, examples: Object.keys(examples) }).not.toEqual({ name, status, examples: [] });
      for (const [code, { value }] of Object.entries(examples)) {
        expect(value).toMatchObject({ code, status: Number(status), type: `/docs/errors#${code}` });
        expect(Object.keys(value)).toEqual(expect.arrayContaining(required));
        expect(properties['code']?.enum).toContain(code);
        expect(properties['outcome']?.enum).toContain(value['outcome']);
        expect([typeof value['title'], typeof value['detail'], typeof value['retryable']]).toEqual([
          'string',
          'string',
          'boolean',
        ]);
      }
    }
  });

  it('documents the errors of POST /charges as the service answers them', async () => {
    const { responses } = operationOf('POST /charges');
    const documented = (status: number, code: string) =>
      responses[status]?.content?.['application/problem+json']?.examples?.[code]?.value ?? {};
    const charge = { amount: 1999, currency: 'eur' };
    const answers = [
      await service.charge(undefined, charge),
      await service.charge('a b', charge),
      await service.charge('example_1', { ...charge, amount: 0 }),
      await service.charge('example_1', { ...charge, source: 'tok_chargeDeclined' }),
      await service.charge('example_1', charge),
      await service.charge('example_2', { ...charge, source: 'tok_unavailable' }),
      await service.charge('example_3', { ...charge, source: 'tok_timeout' }),
    ];
    for (const { body, status } of answers as { body: Record<string, unknown>; status: number }[]) {
      const { code, title, outcome, retryable } = body;
      expect(documented(status, String(code))).toMatchObject({ code, title, status, outcome, retryable });
    }
  });
});
