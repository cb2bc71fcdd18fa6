// Goal: the kit finds the operations of an OpenAPI document that take a key, and the options that check them.
// Method: read the document of this service, and documents with references and without examples.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { keyedOperations, listText } from '../../conformance/openapi.js';
import { Kit, run } from '../support/conformance.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';

let folder: string;
let database: TestDatabase;
let service: TestService;
let kit: Kit;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'openapi-'));
  database = await createDatabase();
  service = await startService(database.url);
  kit = await Kit.build();
});
afterAll(async () => {
  kit?.remove();
  await service?.stop();
  await database?.drop();
  rmSync(folder, { recursive: true });
});

const fileWith = (text: string) => {
  const file = join(folder, 'openapi.json');
  writeFileSync(file, text);
  return file;
};

describe('the option --openapi of the conformance kit', () => {
  it('lists the operations of this service that take a key, and passes the first with the options that it suggests', async () => {
    const { text } = await service.http.get('/openapi.json');
    const { stdout, exitCode } = await kit.run('--openapi', fileWith(text), '--format', 'json');
    const operations = JSON.parse(stdout) as {
      method: string;
      path: string;
      isKeyRequired: boolean;
      options: string[];
    }[];
    expect(exitCode).toBe(0);
    expect(operations).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ method: 'POST', path: '/charges', isKeyRequired: true }),
        expect.objectContaining({ method: 'POST', path: '/orders', isKeyRequired: false }),
      ]),
    );
    expect(operations.map(({ path }) => path)).not.toContain('/balance');
    const charges = operations.find(({ path }) => path === '/charges');
    const report = await kit.check(
      service.url,
      ...(charges?.options ?? []),
      '--effects',
      '/charges?limit=100',
      '--only',
      'duplicate',
    );
    expect(report.findings).toMatchObject([{ verdict: 'passed' }]);
  });

  it('follows references, uses examples of paths and schemas, and finds a key with another name', async () => {
    const file = fileWith(
      JSON.stringify({
        paths: {
          '/a/{id}/b': {
            parameters: [{ name: 'id', in: 'path', example: 'x y' }, { $ref: '#/components/parameters/Key' }],
            put: { requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/B' } } } } },
            get: { parameters: [] },
          },
          '/c': { post: { parameters: [] } },
        },
        components: {
          parameters: { Key: { name: 'x-request-key', in: 'header' } },
          schemas: {
            B: {
              required: ['n', 'self', 's', 'list', 'kind'],
              properties: {
                n: { type: 'integer', example: 7 },
                s: { type: 'string', enum: ["it's"] },
                list: { items: { type: 'boolean' } },
                kind: { allOf: [{ properties: { a: { type: 'string' } }, required: ['a'] }] },
                self: { $ref: '#/components/schemas/Loop' },
                optional: { type: 'string' },
              },
            },
            Loop: { items: { $ref: '#/components/schemas/Loop' } },
          },
        },
      }),
    );
    const operations = await keyedOperations(file, 'X-Request-Key');
    expect(operations.map(({ method, path, isKeyRequired }) => [method, path, isKeyRequired])).toEqual([
      ['GET', '/a/{id}/b', false],
      ['PUT', '/a/{id}/b', false],
    ]);
    const body = JSON.parse(operations[1]?.options.at(5) ?? '') as object;
    expect(body).toMatchObject({ n: 7, s: "it's", list: [true], kind: { a: 'text' } });
    // The command is one that sh understands.
    const command = listText(operations, 'X-Request-Key').split('\n')[3] ?? '';
    const { stdout } = await run('sh', ['-c', command.replace(/.*--url URL/, `printf '%s\\n'`)]);
    expect(stdout.split('\n').slice(0, -1)).toEqual(operations[1]?.options);
  });

  it.each([
    ['paths: {}', /expected an OpenAPI document in JSON/],
    ['[]', /expected an OpenAPI document in JSON/],
  ])('ends with exit code 2 if the document is %s', async (text, message) => {
    const { exitCode, stderr } = await kit.run('--openapi', fileWith(text));
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(message)]);
  });

  it('ends with exit code 2 if the document does not exist', async () => {
    const { exitCode, stderr } = await kit.run('--openapi', join(folder, 'none'));
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/--openapi: ENOENT/)]);
  });

  it('says so if no operation takes a key', async () => {
    const { exitCode, stdout } = await kit.run('--openapi', fileWith('{"paths": {}}'));
    expect([exitCode, stdout]).toEqual([0, 'No operation of the document takes Idempotency-Key.\n']);
  });
});
