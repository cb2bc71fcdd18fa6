import type { INestApplication } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';

const DESCRIPTION = `
A payment service in which every request is safe to send twice.

Send \`POST /charges\` with an \`Idempotency-Key\`. Sent again with the same key and body, however often, at the same
time or after a crash, it charges once, and every attempt gets the same status and the same bytes. Keys are kept for
24 hours by default. A reply that is repeated carries \`Idempotent-Replayed: true\`.

Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem details. Their \`outcome\` says what an attempt
has done: \`not_started\`, \`unknown\` or \`final\`; \`retryable\` says whether to send it again.
[All errors](/docs/errors).
`;

/** Serves the OpenAPI document at `/openapi.json` and Swagger UI at `/docs`. */
export function serveDocs(app: INestApplication): void {
  const config = new DocumentBuilder()
    .setTitle('Payments, idempotent')
    .setDescription(DESCRIPTION)
    .setVersion('1')
    .addTag('charges', 'Idempotent by Idempotency-Key')
    .addTag('orders', 'Idempotent by a natural key')
    .addTag('inventory', 'Idempotent by upsert')
    .addTag('customers', 'Safe by an optimistic lock')
    .addTag('balance', 'Fed by messages, each counted once')
    .addTag('dead letters', 'Messages that could not be processed')
    .addTag('idempotency keys', 'What became of a request, for a client that has nothing left but its key')
    .addTag('operations', 'For those who run the service; no API key needed')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'Not needed while API_KEYS is unset' })
    .build();
  let document: OpenAPIObject | undefined;
  const build = () => (document ??= closeBodies(SwaggerModule.createDocument(app, config)));
  // The module's own document routes serialise it for each request, which needs no API key.
  SwaggerModule.setup('docs', app, build, { raw: false, customSiteTitle: 'Payments, idempotent' });
  let bytes: Buffer | undefined;
  app.getHttpAdapter().get('/openapi.json', (_request: FastifyRequest, reply: FastifyReply) => {
    void reply.type('application/json').send((bytes ??= Buffer.from(JSON.stringify(build()))));
  });
}

type Schemas = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>;
type Schema = Schemas[string];

/** Says what the validation pipe does: it refuses members that a body, or anything in it, is not documented to have. */
function closeBodies(document: OpenAPIObject): OpenAPIObject {
  const { schemas = {} } = document.components ?? {};
  for (const { post, put, patch } of Object.values(document.paths)) {
    for (const operation of [post, put, patch]) {
      const body = operation?.requestBody;
      if (body && 'content' in body) Object.values(body.content).forEach(({ schema }) => close(schema, schemas));
    }
  }
  return document;
}

function close(schema: Schema | undefined, schemas: Schemas): void {
  if (!schema) return;
  if ('$ref' in schema) return close(schemas[schema.$ref.split('/').at(-1) ?? ''], schemas);
  const { properties, items, allOf = [] } = schema;
  if (properties) schema.additionalProperties = false;
  [...Object.values(properties ?? {}), items, ...allOf].forEach((part) => close(part, schemas));
}
