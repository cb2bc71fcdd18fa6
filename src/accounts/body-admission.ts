import { NotFoundException } from '@nestjs/common';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { BODY_LIMIT_BYTES } from '../http/json-body.js';
import { Problem } from '../http/problem.js';
import { FairShare } from '../idempotency/index.js';
import type { ApiKeys } from './api-keys.js';

/**
 * Maximum memory of all bodies that are arriving. Without it, 10,000 connections with 256 KiB each could take 2.5 GB. One account gets at most
 * half of it, which is enough for 128 bodies of the maximum size.
 */
const ARRIVING_BYTES = 64 * 2 ** 20;

/**
 * The name under which the bodies of signed requests share the limit, because the account is known only when the signature is checked. No
 * account has a name with a space.
 */
const SIGNED = 'signed requests';

/** Methods for which Fastify does not read a body. */
const WITHOUT_BODY = ['GET', 'HEAD'];

/**
 * Reads a body only if the request has a route and an API key, and limits the bytes that arrive for one account at the same time. All bodies of
 * routes that take signed requests together have the limit of one account.
 *
 * A client can send a body slowly and occupy its memory for a long time, so a client without an API key must not get this memory. This check is
 * a hook and not a guard, because guards run after the body has arrived.
 */
export function admitBodies(fastify: FastifyInstance, apiKeys: ApiKeys): void {
  const arriving = new FairShare(ARRIVING_BYTES);
  const arrivals = new WeakMap<FastifyRequest, () => void>();
  fastify.addHook('preParsing', (request, reply, _body, done) => {
    const bytes = bodyBytesOf(request);
    if (bytes === 0) return done();
    if (request.is404) return done(new NotFoundException());
    const isSigned = request.routeOptions.config.takesRawBody;
    const sender = isSigned ? SIGNED : apiKeys.accountOf(request.headers.authorization);
    if (!arriving.allows(sender, bytes)) return done(tooMuchAtOnce());
    if (!isSigned) request.accountId = sender;
    const hasArrived = arriving.take(sender, bytes);
    arrivals.set(request, hasArrived);
    // This also releases the memory if the client leaves before the body has arrived, or if the body is refused.
    reply.raw.once('close', hasArrived);
    done();
  });
  fastify.addHook('preHandler', (request, _reply, done) => {
    // From here on, other limits count the memory of the request: as in flight, or as waiting for its turn.
    arrivals.get(request)?.();
    done();
  });
}

/** Maximum number of bytes that are read of the body of a request. */
export function bodyBytesOf({ method, headers }: FastifyRequest): number {
  if (WITHOUT_BODY.includes(method)) return 0;
  if (headers['transfer-encoding'] !== undefined) return BODY_LIMIT_BYTES;
  return Math.min(Number(headers['content-length'] ?? 0), BODY_LIMIT_BYTES);
}

const tooMuchAtOnce = () =>
  new Problem('overloaded', 'Too many bodies of the account are arriving at the same time, and nothing was started.', {
    retryAfterSeconds: 1,
  });
