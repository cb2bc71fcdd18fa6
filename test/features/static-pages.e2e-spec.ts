// Goal: prove that a person who opens the address of the service finds the way to everything else, and that its pages can run no script.
// Method: request the pages of a service that has API keys, without an API key.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { TWO_ACCOUNTS } from '../support/client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';

let database: TestDatabase;
let service: TestService;
beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, TWO_ACCOUNTS);
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const textOf = (html: string) => html.replaceAll(/<[^>]*>/g, '');

describe('the page at /', () => {
  it('links to the documentation, to readiness and to the metrics, and every link works without an API key', async () => {
    const { text } = await service.http.get('/').expect(200);
    const links = [...text.matchAll(/href="([^"]+)"/g)].map(([, link = '']) => link);
    expect(links).toEqual(['/docs', '/docs/errors', '/openapi.json', '/health/ready', '/metrics']);
    for (const link of links) expect([link, (await service.http.get(link)).status]).toEqual([link, 200]);
  });

  it('shows the first request of the README', async () => {
    const { text } = await service.http.get('/').expect(200);
    const [request = ''] = /^curl .*$/m.exec(readFileSync('README.md', 'utf8')) ?? [];
    expect(request).toContain('Idempotency-Key');
    expect(textOf(text)).toContain(request);
  });
});

describe('the pages without scripts', () => {
  it.each(['/', '/docs/errors'])('sends %s with a policy that allows only the style of the page', async (path) => {
    const { text, headers } = await service.http.get(path).expect('content-type', 'text/html; charset=utf-8');
    const [, style = ''] = /<style>([^]*)<\/style>/.exec(text) ?? [];
    const hash = createHash('sha256').update(style).digest('base64');
    expect(headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
    expect(text).not.toMatch(/<script| style=| on\w+=|https?:/);
  });

  it.each(['/', '/docs/errors'])('answers HEAD %s with the headers of GET and without a body', async (path) => {
    const [get, head] = [await service.http.get(path), await service.http.head(path)];
    expect([head.status, head.text]).toEqual([200, undefined]);
    for (const name of ['content-type', 'content-length', 'content-security-policy'])
      expect([name, head.headers[name]]).toEqual([name, get.headers[name]]);
  });
});
