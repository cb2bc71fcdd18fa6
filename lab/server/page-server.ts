import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import files from '@fastify/static';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { ACTIONS } from '../world/actions.js';
import { REPLICAS } from '../world/events.js';
import { Busy, type Laboratory, Unknown } from './laboratory.js';
import type { Catalogue, Command, Update } from './messages.js';

/** The port of the page if no other process has it, so that links to the page stay valid. */
const USUAL_PORT = 4090;
const LOOK_INTERVAL_MS = 40;
/** Maximum number of open pages. */
const PAGES = 20;
const COMPILED = fileURLToPath(new URL('../page/', import.meta.url));
const LIT_HTML = fileURLToPath(new URL('../../../node_modules/lit-html/', import.meta.url));

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types lit-html",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

const COMMAND = {
  type: 'object',
  required: ['kind'],
  oneOf: [
    {
      properties: { kind: { const: 'play' }, step: { type: 'string' }, scenario: { type: 'string' } },
      required: ['step', 'scenario'],
    },
    {
      properties: { kind: { const: 'act' }, action: { enum: Object.keys(ACTIONS) }, replica: { enum: REPLICAS } },
      required: ['action', 'replica'],
    },
  ],
};

/** Serves the page of the laboratory on loopback, and sends to each open page what happens. */
export class PageServer {
  private readonly app: FastifyInstance = fastify({ bodyLimit: 1_000 });
  private readonly pages = new Set<Page>();
  private isLooking = false;

  private constructor(
    private readonly laboratory: Laboratory,
    catalogue: Catalogue,
  ) {
    const { app } = this;
    app.addHook('onRequest', (request, reply, next) => {
      void reply.headers(HEADERS);
      if (isOwn(request)) next();
      else void reply.code(403).send({ error: 'Only the page of this laboratory may do this.' });
    });
    void app.register(files, { root: COMPILED, cacheControl: false });
    app.get('/lit-html.js', (_, reply) => reply.sendFile('lit-html.js', LIT_HTML));
    app.get('/catalogue', () => catalogue);
    app.get('/updates', (_, reply) => this.open(reply));
    app.post<{ Body: Command }>('/commands', { schema: { body: COMMAND } }, async ({ body }, reply) => {
      const accepted = await this.laboratory.execute(body);
      return reply.code(202).send(accepted);
    });
    app.setErrorHandler((error: Error & { statusCode?: number }, _, reply) => {
      if (error instanceof Busy) void reply.header('retry-after', '1');
      const status = error instanceof Busy ? 503 : error instanceof Unknown ? 404 : (error.statusCode ?? 500);
      void reply.code(status).send({ error: error.message });
    });
  }

  static async start(laboratory: Laboratory, catalogue: Catalogue): Promise<PageServer> {
    const server = new PageServer(laboratory, catalogue);
    const listen = (port: number) => server.app.listen({ host: '127.0.0.1', port });
    await listen(USUAL_PORT).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') throw error;
      return listen(0);
    });
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.app.server.address() as AddressInfo).port}/`;
  }

  private open(reply: FastifyReply): FastifyReply {
    if (this.pages.size >= PAGES) return reply.code(503).send({ error: `${PAGES} pages are open.` });
    void reply.hijack();
    const page = new Page(reply.raw);
    reply.raw.writeHead(200, { ...HEADERS, 'content-type': 'text/event-stream' });
    this.pages.add(page);
    reply.raw.on('close', () => this.pages.delete(page));
    void this.lookAndSend();
    return reply;
  }

  /** Looks at the laboratory and sends what has changed, as long as a page is open. */
  private async lookAndSend(): Promise<void> {
    if (this.isLooking) return;
    this.isLooking = true;
    while (this.pages.size > 0) {
      await this.laboratory.look();
      this.pages.forEach((page) => page.send(this.laboratory));
      await pause(LOOK_INTERVAL_MS);
    }
    this.isLooking = false;
  }
}

/** One open event stream, which remembers what it has sent. */
class Page {
  private state = '';
  private rows = '';
  private lastId = 0;

  constructor(private readonly response: ServerResponse) {}

  send({ state, rows, events }: Laboratory): void {
    const update: Update = { events: events.filter(({ id }) => id > this.lastId) };
    const [newState, newRows] = [JSON.stringify(state), JSON.stringify(rows)];
    if (newState !== this.state) update.state = state;
    if (newRows !== this.rows) update.rows = rows;
    if (update.events.length === 0 && !update.state && !update.rows) return;
    this.lastId = update.events.at(-1)?.id ?? this.lastId;
    [this.state, this.rows] = [newState, newRows];
    this.response.write(`data: ${JSON.stringify(update)}\n\n`);
  }
}

/**
 * Whether a request comes from the page of this server, or from a program that is not a browser. The check of `Host` refuses another
 * site whose name resolves to the loopback address (DNS rebinding). A browser sends `Origin` with each POST, so another site cannot
 * send commands. A program has to name the origin as well.
 */
function isOwn({ method, headers, socket }: FastifyRequest): boolean {
  const hosts = ['127.0.0.1', 'localhost'].map((name) => `${name}:${socket.localPort}`);
  const { host, origin } = headers;
  if (!host || !hosts.includes(host)) return false;
  return origin === undefined ? method === 'GET' || method === 'HEAD' : origin === `http://${host}`;
}
