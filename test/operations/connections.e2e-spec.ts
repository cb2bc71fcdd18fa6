// Goal: prove that broken, slow and abandoned connections never get a wrong answer, and never block memory or a shutdown.
// Method: write bytes to raw sockets, hold commits at a barrier, and drain the server.
import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Module, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { BODY_LIMIT_BYTES } from '../../src/http/json-body.js';
import { GroupCommit } from '../../src/idempotency/commit/group-commit.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';
import { expectProblem, send, sendBytes } from '../support/wire.js';

/** How many requests the server has begun to read, and how many handlers of {@link Handlers} have started. */
let [requests, started] = [0, 0];

/** Resolves when the client has closed the connection, with or without an error. */
const clientGone = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));

/** Handlers that end at a moment of the test's choice. */
@Controller('handlers')
class Handlers {
  @Get('after-client')
  async afterClient(@Req() { raw }: FastifyRequest): Promise<string> {
    started++;
    await clientGone(raw.socket);
    return 'the client does not read this';
  }

  @Get('hijacked')
  hijacked(@Res() reply: FastifyReply): void {
    reply.hijack();
    reply.raw.end('{}');
  }

  @Get('hijacked-after-client')
  async hijackedAfterClient(@Req() { raw }: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    started++;
    reply.hijack();
    await clientGone(raw.socket);
    reply.raw.end('{}');
  }
}

@Module({ controllers: [Handlers] })
class HandlersModule {}

let database: TestDatabase;
let service: TestService;
const sockets: Socket[] = [];

beforeAll(async () => (database = await createDatabase()));
beforeEach(async () => {
  [requests, started] = [0, 0];
  await reset(database);
  service = await startService(database.url, {}, [HandlersModule]);
  server().on('request', () => requests++);
});
afterEach(async () => {
  Barrier.openAll();
  sockets.splice(0).forEach((socket) => socket.destroy());
  await service?.stop();
});
afterAll(async () => database?.drop());

const server = (): Server => service.nest.getHttpServer();

const connections = () =>
  new Promise<number>((resolve, reject) =>
    server().getConnections((error, count) => (error ? reject(error) : resolve(count))),
  );

/** Opens a connection that sends `bytes` and stays open until the test ends. */
async function open(bytes: string): Promise<Socket> {
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  sockets.push(socket);
  // The server may close the connection before it has read everything.
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(bytes);
  return socket;
}

const head = (method: string, path: string, ...headers: string[]) =>
  [`${method} ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', ''].join('\r\n');

const withBody = (body: string, key = 'order_1') =>
  head(
    'POST',
    '/charges',
    'Content-Type: application/json',
    `Idempotency-Key: ${key}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
  ) + body;

const GOOD = withBody(JSON.stringify(CHARGE));
const BROKEN_CHUNK =
  head('POST', '/charges', 'Content-Type: application/json', 'Idempotency-Key: broken', 'Transfer-Encoding: chunked') +
  'not the length of a chunk\r\n';

/** Holds the first commit until the barrier is opened. */
function holdCommits(): Barrier {
  const barrier = new Barrier();
  const commits = service.nest.get(GroupCommit);
  const commit = commits.commit.bind(commits);
  commits.commit = async (unit) => (await barrier.pass(), commit(unit));
  return barrier;
}

/** Everything that the server sends until the connection is closed by either side. */
const received = (socket: Socket) => text(socket).catch(() => '');

describe('invalid bytes behind a charge that may have started', () => {
  it.each([
    ['one byte', 'x'],
    ['U+0000', '\0'],
    ['a line of text', 'PAY ME\r\n\r\n'],
    ['a request with a method that does not exist', head('CHARGE', '/charges')],
    ['a request whose body is broken', BROKEN_CHUNK],
  ])(
    'closes the connection without an answer after %s, because the client would take a 400 for the answer to its charge',
    async (_, bytes) => {
      const barrier = holdCommits();

      const socket = await open(GOOD);
      const answer = received(socket);
      await barrier.reached.given;
      socket.write(bytes);
      expect(await answer).toBe('');
      barrier.open();

      await until(async () => (await effects(database)).completed === 1);
      const retried = await service.charge('order_1');
      expect([retried.status, retried.headers['idempotent-replayed']]).toEqual([200, 'true']);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    },
  );

  it.each([
    ['one byte', 'x'],
    ['a request whose body is broken', BROKEN_CHUNK],
  ])(
    'closes the connection without an answer also if the invalid bytes come in one packet with the charge: %s',
    async (_, bytes) => {
      expect(await received(await open(GOOD + bytes))).toBe('');
      expect((await service.charge('order_1')).status).toBe(200);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    },
  );
});

describe('invalid bytes while no request may have started', () => {
  it('answers 400 to a charge whose body is not valid HTTP, and charges nothing', async () => {
    const problem = expectProblem(await sendBytes(service.url, BROKEN_CHUNK), 400, 'malformed_request');
    expect(problem).toMatchObject({ outcome: 'not_started', retryable: false });
    expect(await effects(database)).toEqual(NOTHING);
  });

  it('answers 400 to invalid bytes if the charge before them has been answered', async () => {
    const socket = await open(GOOD);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 200 OK/);
    socket.write('x\r\n\r\n');
    expect(await received(socket)).toMatch(/^HTTP\/1.1 400 Bad Request[^]*"code":"malformed_request"/);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('closes the connection after a 400, even if the client neither reads nor closes it', async () => {
    const socket = await open('PAY ME\r\n\r\n');
    socket.pause();
    await until(async () => (await connections()) === 0);
  });
});

describe('the connections of a server', () => {
  it('limits the connections of a server to 10,000, and closes one more at once', async () => {
    expect(server().maxConnections).toBe(10_000);
    server().maxConnections = 1;
    const first = await open('');
    await until(async () => (await connections()) === 1);
    expect(await received(await open(GOOD))).toBe('');
    expect(first.destroyed).toBe(false);
    expect(await effects(database)).toEqual(NOTHING);
  });
});

describe('the body of a request', () => {
  const LARGEST_BYTES = 256 * 1_024;
  /** The head of a charge whose body never arrives. */
  const announced = (secret: string, path = '/charges') =>
    head(
      'POST',
      path,
      'Content-Type: application/json',
      'Idempotency-Key: order_1',
      `Authorization: Bearer ${secret}`,
      `Content-Length: ${LARGEST_BYTES}`,
    );
  const statusOf = async (socket: Socket) => /^HTTP\/1.1 (\d+)/.exec(String((await once(socket, 'data'))[0]))?.[1];

  beforeEach(async () => {
    await service.stop();
    service = await startService(database.url, { API_KEYS: 'acct_a:sk_a,acct_b:sk_b' });
    server().on('request', () => requests++);
  });

  it.each([
    ['401', 'without the API key of an account', announced('sk_c')],
    ['404', 'for a route that does not exist', announced('sk_a', '/charge')],
  ])('answers %s before it reads the body of a request %s', async (status, _, bytes) => {
    expect(await statusOf(await open(bytes))).toBe(status);
  });

  it('lets the arriving bodies of one account take 32 MiB, and leaves room for other accounts', async () => {
    const arriving = await Promise.all(Array.from({ length: 128 }, () => open(announced('sk_a'))));
    await until(() => requests === arriving.length);
    expect(await statusOf(await open(announced('sk_a')))).toBe('503');
    const headers = { authorization: 'Bearer sk_b' };
    expect((await service.charge('order_1', CHARGE, headers)).status).toBe(200);

    arriving.forEach((socket) => socket.destroy());
    const again = { authorization: 'Bearer sk_a' };
    await until(async () => (await service.charge('order_2', CHARGE, again)).status === 200);
    expect(await effects(database)).toMatchObject({ captures: 2 });
  });

  it('gives the memory of a body back once it has been read', async () => {
    const headers = { authorization: 'Bearer sk_a' };
    const large = { ...CHARGE, description: 'd'.repeat(200_000) };
    for (let i = 0; i < 200; i++) expect((await service.charge('order_1', large, headers)).status).toBe(400);
    expect((await service.charge('order_1', CHARGE, headers)).status).toBe(200);
  });
});

describe('a request that does not arrive in time', () => {
  beforeEach(() => {
    server().headersTimeout = server().requestTimeout = 1;
  });

  it.each([
    ['the body', GOOD.slice(0, -5), GOOD.slice(-5)],
    ['the head', GOOD.slice(0, 20), GOOD.slice(20)],
  ])(
    'answers 408 to a slow request, and charges nothing when the rest of %s arrives afterwards',
    async (_, first, rest) => {
      const socket = await open(first);
      const answer = received(socket);
      await once(socket, 'data');
      socket.write(rest);
      expect(await answer).toMatch(
        /^HTTP\/1.1 408 Request Timeout[^]*retry-after: 1[^]*"retryable":true,"outcome":"not_started"/,
      );
      expect(requests).toBe(first === GOOD.slice(0, 20) ? 0 : 1);
      expect(await effects(database)).toEqual(NOTHING);
      server().headersTimeout = server().requestTimeout = 60_000;
      expect((await service.charge('order_1')).headers['idempotent-replayed']).toBeUndefined();
      expect(await effects(database)).toEqual(ONE_CHARGE);
    },
  );

  it('closes an idle connection without a 408, because a client would take it for the answer to its next request', async () => {
    expect(await received(await open(''))).toBe('');
  });

  it('closes a connection without a 408 if another of its requests may have started', async () => {
    const barrier = holdCommits();
    const socket = await open(GOOD);
    const answer = received(socket);
    await barrier.reached.given;
    socket.write(GOOD.slice(0, 20));
    expect(await answer).toBe('');
    barrier.open();
    await until(async () => (await effects(database)).completed === 1);
  });
});

describe('an idle connection', () => {
  /** Opens a connection and returns both ends of it. */
  const openBoth = async (bytes: string) => {
    const accepted = once(server(), 'connection') as Promise<[Socket]>;
    const client = await open('');
    const [connection] = await accepted;
    client.write(bytes);
    return { client, connection };
  };

  it('closes an idle connection whose client does not read its answers', async () => {
    // More bytes than the kernel buffers at both ends.
    const { client, connection } = await openBoth(head('GET', '/docs/swagger-ui-bundle.js').repeat(20));
    client.pause();
    await until(() => requests > 1);
    connection.setTimeout(1);
    await until(() => connection.destroyed);
    await service.drain.start();
  });

  it('keeps an idle connection open while its client waits for an answer', async () => {
    const barrier = holdCommits();
    const { client, connection } = await openBoth(GOOD);
    await barrier.reached.given;
    const timeout = once(server(), 'timeout');
    connection.setTimeout(1);
    await timeout;
    expect(connection.destroyed).toBe(false);
    const answer = once(client, 'data') as Promise<[Buffer]>;
    barrier.open();
    expect(String((await answer)[0])).toMatch(/^HTTP\/1.1 200 OK/);
  });
});

describe('the drain', () => {
  const get = (path: string) => head('GET', path);
  /** Sends requests, waits until their handlers run, and breaks the connection. */
  const leave = async (...paths: string[]) => {
    const socket = await open(paths.map(get).join(''));
    await until(() => requests === paths.length);
    await until(() => started === paths.filter((path) => path.includes('after-client')).length);
    socket.resetAndDestroy();
  };
  /** Sends bytes, and reads the beginning of the answer. The connection stays open. */
  const exchange = async (bytes: string) => void (await once(await open(bytes), 'data'));

  it.each<[way: string, go: () => Promise<unknown>]>([
    ['that was answered on a connection that is kept alive', () => exchange(get('/charges'))],
    ['that was a HEAD', () => exchange(head('HEAD', '/charges'))],
    ['whose handler writes the response by itself', () => exchange(get('/handlers/hijacked'))],
    ['without a route', () => exchange(get('/nowhere'))],
    ['with a method that the route does not have', () => exchange(head('PUT', '/charges', 'Content-Length: 0'))],
    ['with a URL that cannot be decoded', () => exchange(get('/charges/%zz'))],
    ['with a path that is too long', () => exchange(get(`/charges/${'x'.repeat(766)}`))],
    ['with an expectation that cannot be met', () => exchange(head('GET', '/charges', 'Expect: a miracle'))],
    [
      'with a body that is too large, and never sent',
      () =>
        exchange(head('POST', '/charges', 'Content-Type: application/json', `Content-Length: ${BODY_LIMIT_BYTES + 1}`)),
    ],
    ['with a body of another type', () => send(service.url, { headers: ['Content-Type', 'text/plain'], body: 'x' })],
    ['with a body that is broken', () => sendBytes(service.url, BROKEN_CHUNK)],
    ['that was followed by bytes that are not HTTP', async () => received(await open(GOOD + 'x'))],
    ['whose client has left before its handler ended', () => leave('/handlers/after-client')],
    [
      'whose client has left before its handler wrote the response by itself',
      () => leave('/handlers/hijacked-after-client'),
    ],
    [
      'whose client has left in the middle of the body',
      async () => {
        const socket = await open(GOOD.slice(0, -5));
        await until(() => requests === 1);
        socket.resetAndDestroy();
      },
    ],
    ['that was pipelined with another before the client left', () => leave('/charges', '/charges')],
    [
      'whose body is incomplete',
      async () => {
        await open(GOOD.slice(0, -5));
        await until(() => requests === 1);
      },
    ],
    [
      'for a file whose client has left in the middle of it',
      async () => {
        const socket = await open(get('/docs/swagger-ui-bundle.js'));
        await once(socket, 'data');
        socket.resetAndDestroy();
      },
    ],
    [
      'for a file that was pipelined with another before the client left',
      async () => {
        const socket = await open(get('/docs/swagger-ui-bundle.js').repeat(2));
        await once(socket, 'data');
        socket.resetAndDestroy();
      },
    ],
    [
      'for a file that was pipelined with work before the client left',
      () => leave('/handlers/after-client', '/docs/swagger-ui-bundle.js'),
    ],
    [
      'that was pipelined with others before the client left and before its handler ended',
      () => leave('/handlers/after-client', '/handlers/after-client', '/handlers/hijacked-after-client'),
    ],
    [
      'that was answered behind another whose client has left',
      () => leave('/handlers/after-client', '/charges', '/charges/%zz', '/nowhere'),
    ],
  ])('does not wait at shutdown for a request %s', async (_, go) => {
    await go();
    await service.drain.start();
  });

  it('waits at shutdown for a handler whose client has gone, and answers 503 to other requests', async () => {
    const barrier = holdCommits();
    const socket = await open(GOOD);
    await barrier.reached.given;
    socket.resetAndDestroy();
    await until(async () => (await connections()) === 0);

    let isOver = false;
    const drained = service.drain.start().then(() => (isOver = true));
    expectProblem(await send(service.url, { method: 'GET' }), 503, 'shutting_down');
    expect(isOver).toBe(false);
    barrier.open();
    await drained;
    await until(async () => (await effects(database)).succeeded === 1);
  });

  it('refuses a charge whose body arrives during the shutdown, and charges nothing', async () => {
    const started = holdCommits();
    await open(GOOD);
    await started.reached.given;
    const late = withBody(JSON.stringify(CHARGE), 'late');
    const socket = await open(late.slice(0, -5));
    await until(() => requests === 2);

    const drained = service.drain.start();
    const answer = received(socket);
    socket.write(late.slice(-5));
    expect(await answer).toMatch(/^HTTP\/1.1 503 [^]*"code":"shutting_down","retryable":true,"outcome":"not_started"/);
    started.open();
    await drained;
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });
});

describe('the end of the server', () => {
  it.each([
    ['nothing', ''],
    ['a part of the head of a request', GOOD.slice(0, 20)],
    ['a part of the body of a request', GOOD.slice(0, -5)],
    ['a request, and a part of the next', head('GET', '/charges') + GOOD.slice(0, 20)],
  ])('does not wait at the end for a connection that has received %s', async (_, bytes) => {
    const accepted = once(server(), 'connection').then(([socket]) => socket as Socket);
    await open(bytes);
    const connection = await accepted;
    await until(() => connection.bytesRead === bytes.length);
    await service.drain.start();
    await service.nest.close();
  });
});
