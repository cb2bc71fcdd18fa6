import { NotFoundException } from '@nestjs/common';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { BODY_LIMIT_BYTES } from '../http/json-body.js';
import { Problem } from '../http/problem.js';
import { FairShare } from '../idempotency/index.js';
import type { ApiKeys } from './api-keys.js';

/**
 * Bytes of bodies that are being read, all together: with 10,000 connections and 256 KiB for each, they could otherwise take 2.5 GB. One
 * account alone gets half of it, which is 128 of the largest bodies.
 */
const ARRIVING_BYTES = 64 * 2 ** 20;

/** Fastify reads no body of such a request. */
const WITHOUT_BODY = ['GET', 'HEAD'];

/**
 * Reads a body only if it is known whose it is and where it goes, and of each account only so much at a time. A client sends a body as
 * slowly as it likes, so the memory for it must not be free to everybody. This runs before the body is read, and the guards run
 * when the body has arrived.
 */
export function admitBodies(fastify: FastifyInstance, apiKeys: ApiKeys): void {
  const arriving = new FairShare(ARRIVING_BYTES);
  const arrivals = new WeakMap<FastifyRequest, () => void>();
  fastify.addHook('preParsing', (request, reply, _body, done) => {
    const bytes = bodyBytesOf(request);
    if (bytes === 0) return done();
    if (request.is404) return done(new NotFoundException());
    const accountId = apiKeys.accountOf(request.headers.authorization);
    if (!arriving.allows(accountId, bytes)) return done(tooMuchAtOnce());
    request.accountId = accountId;
    const hasArrived = arriving.take(accountId, bytes);
    arrivals.set(request, hasArrived);
    // Also if the client leaves before the body has arrived, and if the body is refused.
    reply.raw.once('close', hasArrived);
    done();
  });
  fastify.addHook('preHandler', (request, _reply, done) => {
    // From here on the request counts as in flight, or as waiting for its turn.
    arrivals.get(request)?.();
    done();
  });
}

/** How many bytes of its body are read at most. */
export function bodyBytesOf({ method, headers }: FastifyRequest): number {
  if (WITHOUT_BODY.includes(method)) return 0;
  if (headers['transfer-encoding'] !== undefined) return BODY_LIMIT_BYTES;
  return Math.min(Number(headers['content-length'] ?? 0), BODY_LIMIT_BYTES);
}

const tooMuchAtOnce = () =>
  new Problem('overloaded', 'Too many bodies of the account are arriving at once; nothing was started.', {
    retryAfterSeconds: 1,
  });
