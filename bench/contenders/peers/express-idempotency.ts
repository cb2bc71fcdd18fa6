import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Module } from '@nestjs/common';
import { CreateCharge } from '../../../src/charges/dto/create-charge.dto.js';
import { InputValidationPipe } from '../../../src/http/validation.pipe.js';
import { ready } from '../../worker.js';
import { createWithin } from '../comparator.js';
import { UNPROTECTED_CHARGES, UnprotectedCharges } from '../unprotected-charges.js';
import { installed, redisUrl } from './installed.js';

type Request = IncomingMessage & { body: unknown };
type Response = ServerResponse & { send: (body: unknown) => void };
type Next = (error?: unknown) => void;
type Handler = (request: Request, response: Response, next: Next) => unknown;

const express = installed('express') as {
  (): { use: (handler: Handler) => void; post: (path: string, handler: Handler) => void } & {
    listen: (port: number, host: string, onListening: () => void) => Server;
  };
  json: () => Handler;
};
const { idempotency, getSharedIdempotencyService } = installed('express-idempotency') as {
  idempotency: (options: object) => Handler;
  getSharedIdempotencyService: () => { isHit: (request: Request) => boolean };
};
const { default: RedisAdapter } = installed('express-idempotency-redis-adapter') as {
  default: new (options: object) => { connect: () => Promise<void> };
};

/**
 * The function without idempotency behind Express and the middleware, as the READMEs of express-idempotency and its Redis adapter show them. The
 * middleware needs the responses of Express, so this contender cannot run on Fastify. The application of the service still relays the messages.
 */
@Module(UNPROTECTED_CHARGES)
class Charges {}

const nest = await createWithin(Charges);
const charges = nest.get(UnprotectedCharges);
const validation = new InputValidationPipe();
const adapter = new RedisAdapter({ connectionConfig: { url: redisUrl } });
await adapter.connect();

const app = express();
app.use(express.json());
app.use(idempotency({ dataAdapter: adapter }));
app.post('/charges', (request, response, next) => {
  if (getSharedIdempotencyService().isHit(request)) return;
  validation
    .transform(request.body, { type: 'body', metatype: CreateCharge })
    .then((input) => charges.create(input as CreateCharge))
    .then((resource) => response.send(resource))
    .catch(next);
});
const server = app.listen(0, '127.0.0.1', () => ready(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
