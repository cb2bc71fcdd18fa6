import type { INestApplication } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { documentHandlers, handlersOf, operationId } from './openapi.operations.js';
import { ProblemDetails } from './openapi.problems.js';

const DESCRIPTION = `
A payment service in which every request is safe to send twice.

Send \`POST /charges\` with an \`Idempotency-Key\`. If you send the request again with the same key and body, the service
charges once, and every attempt gets the same status and the same bytes. This holds for any number of retries, for
retries at the same time, and after a crash. Keys are kept for 24 hours by default. A replayed reply carries
\`Idempotent-Replayed: true\`. Every recorded reply carries \`Idempotency-Key-Expires\`, the time when its key expires.

Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem details. The member \`outcome\` says what the attempt
has done: \`not_started\`, \`unknown\` or \`final\`. The member \`retryable\` says whether to send the request again.
[All errors](/docs/errors).
`;

/** Serves the OpenAPI document at `/openapi.json` and Swagger UI at `/docs`. */
export function serveDocs(app: INestApplication): void {
  const config = new DocumentBuilder()
    .setTitle('Payments, idempotent')
    .setDescription(DESCRIPTION)
    .setVersion('1')
    .addTag('charges', 'Idempotent by `Idempotency-Key`')
    .addTag('webhooks', 'Idempotent by the id of the event')
    .addTag('orders', 'Idempotent by a natural key')
    .addTag('inventory', 'Idempotent by upsert')
    .addTag('customers', 'Protected by an optimistic lock')
    .addTag('balance', 'Updated by messages, each counted once')
    .addTag('dead letters', 'Messages that could not be processed')
    .addTag('idempotency keys', 'The state of a request, for a client that knows only its key')
    .addTag('operations', 'For operators of the service. No API key is needed')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'Not needed while API_KEYS is unset' })
    .build();
  let document: OpenAPIObject | undefined;
  const build = () => (document ??= createDocument(app, config));
  // `raw: false` disables the routes of SwaggerModule for the document. They serialise the document for each request and need no API key, so
  // any client could make the service do this work.
  SwaggerModule.setup('docs', app, build, { raw: false, customSiteTitle: 'Payments, idempotent' });
  let bytes: Buffer | undefined;
  app.getHttpAdapter().get('/openapi.json', (_request: FastifyRequest, reply: FastifyReply) => {
    void reply.type('application/json').send((bytes ??= Buffer.from(JSON.stringify(build()))));
  });
}

function createDocument(app: INestApplication, config: Omit<OpenAPIObject, 'paths'>): OpenAPIObject {
  const document = SwaggerModule.createDocument(app, config, {
    extraModels: [ProblemDetails],
    operationIdFactory: operationId,
  });
  documentHandlers(document, handlersOf(app.get(DiscoveryService), app.get(MetadataScanner)));
  return closeBodies(document);
}

type Schemas = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>;
type Schema = Schemas[string];

/** Sets `additionalProperties: false` at every level of every body, because the validation pipe refuses unknown members. */
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
