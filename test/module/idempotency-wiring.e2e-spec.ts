// Goal: prove that an application that uses the module unsafely refuses to start, or answers 500 and logs the reason.
// Method: start toy applications with one mistake each, in their options, decorators, handlers or database.
import {
  type CallHandler,
  Controller,
  ForbiddenException,
  Next,
  Post,
  Redirect,
  Render,
  Res,
  Scope,
  Sse,
  type Type,
  UseInterceptors,
} from '@nestjs/common';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { map } from 'rxjs';
import {
  Idempotent,
  idempotencyMigrations,
  type IdempotentRequest,
  IdempotencyContext,
  type RecordedReply,
} from '../../src/idempotency/index.js';
import { MIGRATIONS } from '../../src/idempotency/upkeep/migrations.check.js';
import type { TestDatabase } from '../support/database.js';
import {
  CLAIMED,
  createToyDatabase,
  empty,
  isReplay,
  left,
  LIMITS,
  logged,
  NOTHING,
  ONE_COMMIT,
  type Platform,
  startToy,
  stopToys,
  type Toy,
  type ToySettings,
} from '../support/toy.js';
import { type Handler, intend, oneCommit, place, twoCommits } from '../support/toy.handlers.js';

/** A controller with an idempotent handler that has one more decorator. */
function withDecorator(extra: MethodDecorator): Type {
  @Controller('odd')
  class Odd {
    @Post()
    @Idempotent()
    @extra
    handle(@IdempotencyContext() request: IdempotentRequest) {
      return request.complete(place, { name: 'odd' });
    }
  }
  return Odd;
}

/** A controller with an idempotent handler that has one more parameter. */
function withParameter(extra: ParameterDecorator): Type {
  @Controller('odd')
  class Odd {
    @Post()
    @Idempotent()
    handle(@IdempotencyContext() request: IdempotentRequest, @extra _: unknown) {
      return request.complete(place, { name: 'odd' });
    }
  }
  return Odd;
}

function inherited(parent: Type): Type {
  @Controller('odd')
  class Heir extends parent {}
  return Heir;
}

@Controller({ path: 'odd', scope: Scope.REQUEST })
class PerRequest {
  @Post()
  @Idempotent()
  handle(@IdempotencyContext() request: IdempotentRequest, @Res() _: unknown) {
    return request.complete(place, { name: 'odd' });
  }
}

@Controller('odd')
@Idempotent()
class DecoratedAsAWhole {
  @Post()
  handle(@IdempotencyContext() request: IdempotentRequest, @Res() _: unknown) {
    return request.complete(place, { name: 'odd' });
  }
}

/** A request to which no guard has added a user. */
interface Misrouted {
  headers: Record<string, string | undefined>;
  user: { id: string };
}

const ANSWERS_ITSELF = /Odd\.handle: an @Idempotent\(\) handler cannot use @Res\(\) or @Next\(\)/;
const NOT_JSON = /Odd\.handle: an @Idempotent\(\) handler cannot redirect, render or stream/;
const CONSTRAINT = /processed_requests: expected a unique constraint on \(account_id, idempotency_key\)/;
const ALTER = 'ALTER TABLE processed_requests';
const DROP_CONSTRAINT = `${ALTER} DROP CONSTRAINT processed_requests_pkey`;

describe.each<Platform>(['fastify', 'express'])('an application on %s', (platform) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createToyDatabase();
  });
  afterAll(async () => {
    await database?.drop();
  });

  describe('the start of an application', () => {
    afterEach(stopToys);
    const start = (settings: ToySettings) => startToy(database.url, { platform, ...settings });

    it('refuses to start without a scope', async () => {
      const scope = undefined as unknown as () => string;
      await expect(start({ scope })).rejects.toThrow(/IdempotencyModule: expected scope\(request\)/);
    });

    // `query_timeout` is not in this list. The module does not require this limit, because the module bounds its own statements.
    it.each(['lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout'])(
      'refuses to start on connections without the limit %s',
      async (name) => {
        const limits = { ...LIMITS, [name]: 0 };
        await expect(start({ limits })).rejects.toThrow(new RegExp(`^${name}: expected a limit`));
      },
    );

    it.each([
      ['@Res()', withParameter(Res()), ANSWERS_ITSELF],
      ['@Res({ passthrough: true })', withParameter(Res({ passthrough: true })), ANSWERS_ITSELF],
      ['@Next()', withParameter(Next()), ANSWERS_ITSELF],
      ['@Redirect()', withDecorator(Redirect('/elsewhere')), NOT_JSON],
      ['@Render()', withDecorator(Render('view')), NOT_JSON],
      ['@Sse()', withDecorator(Sse('stream')), NOT_JSON],
      ['inherited @Res()', inherited(withParameter(Res())), /Heir\.handle: .*@Res/],
      ['@Res() in a controller made for each request', PerRequest, /PerRequest\.handle: .*@Res/],
      ['@Res() under @Idempotent() on the class', DecoratedAsAWhole, /DecoratedAsAWhole.*@Res/],
    ])('refuses to start if an idempotent handler uses %s', async (_, controller, message) => {
      await expect(start({ controllers: [controller] })).rejects.toThrow(message);
    });
  });

  describe('a misused request', () => {
    let toy: Toy;
    /** Each test may replace it. */
    let scope: (request: Misrouted) => string;

    @Controller('odd')
    class Misused {
      @Post('keyless')
      keyless(@IdempotencyContext() request: IdempotentRequest) {
        return toy.handler(request, { name: 'marble' });
      }

      // This interceptor runs inside the interceptor of @Idempotent(), because it is above @Idempotent() and TypeScript applies
      // decorators from the handler upwards.
      @Post('mapped')
      @UseInterceptors({
        intercept: (_: unknown, next: CallHandler) => next.handle().pipe(map((reply: RecordedReply) => reply.body)),
      })
      @Idempotent()
      mapped(@IdempotencyContext() request: IdempotentRequest) {
        return toy.handler(request, { name: 'marble' });
      }
    }

    beforeAll(async () => {
      toy = await startToy(database.url, {
        platform,
        scope: (request: Misrouted) => scope(request),
        controllers: [Misused],
      });
    });
    beforeEach(async () => {
      await empty(database);
      logged.length = 0;
      scope = ({ headers }) => headers['x-account'] ?? '';
      Object.assign(toy, { handler: oneCommit, arrived: 0 });
    });
    afterAll(stopToys);

    it.each<[string, Handler, RegExp, object]>([
      [
        'when a handler returns without a reply',
        () => Promise.resolve({ ok: true }),
        /create did not return the reply of request.complete/,
        NOTHING,
      ],
      [
        'when a handler returns without a reply after its claim',
        async (request, wish) => ({ id: await request.claim(intend, wish) }),
        /create did not return the reply of request.complete/,
        CLAIMED,
      ],
      [
        'when a handler returns a copy of its reply',
        async (request, wish) => ({ ...(await request.complete(place, wish)) }),
        /create did not return the reply of request.complete/,
        ONE_COMMIT,
      ],
      [
        'when a request is claimed twice',
        async (request, wish) => {
          await request.claim(intend, wish);
          return request.claim(intend, wish);
        },
        /A request is claimed once/,
        CLAIMED,
      ],
      [
        'when a request is claimed after it was completed',
        async (request, wish) => {
          await request.complete(place, wish);
          return request.claim(intend, wish);
        },
        /A request is claimed once, and before it is completed/,
        ONE_COMMIT,
      ],
      [
        'when a request is completed twice',
        async (request, wish) => {
          await request.complete(place, wish);
          return request.complete(place, wish);
        },
        /A request is completed once/,
        ONE_COMMIT,
      ],
      [
        'when a phase returns no result for its item',
        (request, wish) => request.complete(() => Promise.resolve([]), wish),
        /A phase returned 0 results for 1 item/,
        NOTHING,
      ],
      [
        'when a phase returns more results than it got items',
        (request, wish) =>
          request.complete(async (tx, items) => [...(await place(tx, items)), ...(await place(tx, items))], wish),
        /A phase returned 2 results for 1 item/,
        NOTHING,
      ],
    ])('answers 500, and logs the reason, %s', async (_, handler, message, expected) => {
      toy.handler = handler;
      expect((await toy.send('key')).status).toBe(500);
      expect(logged.join('\n')).toMatch(message);
      expect(await left(database)).toEqual(expected);

      // If the effect is committed, it stays, and a retry with the key gets the recorded reply. Otherwise the retry does the work.
      toy.handler = expected === ONE_COMMIT ? oneCommit : twoCommits();
      const reply = await toy.send('key');
      expect(reply.status).toBe(201);
      expect(await left(database)).toMatchObject({ keys: 1, completed: 1, effects: 1 });
      if (expected === ONE_COMMIT) expect(isReplay(reply)).toBe(true);
    });

    it('answers 500 but records the reply when a handler does not wait for its reply', async () => {
      let completed: Promise<unknown> | undefined;
      toy.handler = (request, wish) => {
        completed = request.complete(place, wish);
        return Promise.resolve();
      };
      expect((await toy.send('key')).status).toBe(500);
      expect(logged.join('\n')).toMatch(/create did not return the reply of request.complete/);
      await completed;
      toy.handler = oneCommit;
      expect(isReplay(await toy.send('key'))).toBe(true);
      expect(await left(database)).toEqual(ONE_COMMIT);
    });

    it('answers 500 but records the reply when another interceptor replaces the reply', async () => {
      expect((await toy.send('key', { path: '/odd/mapped' })).status).toBe(500);
      expect(logged.join('\n')).toMatch(/mapped did not return the reply/);
      const again = await toy.send('key', { path: '/odd/mapped' });
      expect({ status: again.status, text: again.text }).toEqual({ status: 201, text: '{"id":1,"name":"marble"}' });
      expect(await left(database)).toEqual(ONE_COMMIT);
    });

    it('answers 500 when @IdempotencyContext() is used without @Idempotent()', async () => {
      expect((await toy.send('key', { path: '/odd/keyless' })).status).toBe(500);
      expect(logged.join('\n')).toMatch(/keyless: @IdempotencyContext\(\) needs @Idempotent\(\) on the handler/);
      expect(await left(database)).toEqual(NOTHING);
    });

    it('answers 500, and logs that scope() failed, when no guard has set the account that scope() reads', async () => {
      scope = ({ user }) => user.id;
      expect((await toy.send('key')).status).toBe(500);
      expect(logged.join('\n')).toMatch(/scope\(\) failed: .*'id'.*; expected it to return the account of a request/);
      expect(await left(database)).toEqual(NOTHING);
    });

    it('answers with the error of scope() when scope() refuses a request itself', async () => {
      scope = () => {
        throw new ForbiddenException();
      };
      expect((await toy.send('key')).status).toBe(403);
    });

    it('answers 500 and does not run the handler when scope() returns no account', async () => {
      expect((await toy.send('key', { account: '' })).status).toBe(500);
      expect(logged.join('\n')).toMatch(/scope\(\) returned no account/);
      expect(toy.arrived).toBe(0);
      expect(await left(database)).toEqual(NOTHING);
    });
  });
});

describe('the start of an application on an unsafe database', () => {
  let broken: TestDatabase;
  beforeEach(async () => {
    broken = await createToyDatabase();
  });
  afterEach(async () => {
    await stopToys();
    await broken.drop();
  });

  it.each([
    ['without the unique constraint', DROP_CONSTRAINT],
    [
      'with a non-unique index instead of the constraint',
      `${DROP_CONSTRAINT}; CREATE INDEX ON processed_requests (account_id, idempotency_key)`,
    ],
    [
      'with a column that may be null',
      `${DROP_CONSTRAINT}; ${ALTER} ALTER idempotency_key DROP NOT NULL, ADD UNIQUE (account_id, idempotency_key)`,
    ],
    ['with keys that are unique across all accounts', `${DROP_CONSTRAINT}; ${ALTER} ADD UNIQUE (idempotency_key)`],
    [
      'with keys that are unique only within an operation',
      `${DROP_CONSTRAINT}; ${ALTER} ADD UNIQUE (account_id, idempotency_key, operation)`,
    ],
    [
      'with keys that are unique only among unfinished requests',
      `${DROP_CONSTRAINT}; CREATE UNIQUE INDEX ON processed_requests (account_id, idempotency_key) WHERE completed_at IS NULL`,
    ],
    [
      'with keys that are unique only together with an expression',
      `${DROP_CONSTRAINT}; CREATE UNIQUE INDEX ON processed_requests (account_id, idempotency_key, lower(operation))`,
    ],
    [
      'with a constraint whose check can be deferred to COMMIT',
      `${DROP_CONSTRAINT}; ${ALTER} ADD UNIQUE (account_id, idempotency_key) DEFERRABLE`,
    ],
  ])('refuses to start on a database %s', async (_, sql) => {
    await broken.sql(sql);
    await expect(startToy(broken.url)).rejects.toThrow(CONSTRAINT);
  });

  it.each([
    [
      'none has run',
      'DROP TABLE processed_requests',
      /expected the migration Idempotency1795478400000 and IdempotencyUpkeep1795478400500 and IdempotencyRecovery1795478408000 to have run; add idempotencyMigrations/,
    ],
    [
      'the second has not run',
      `${ALTER} RESET (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor)`,
      /expected the migration IdempotencyUpkeep1795478400500 to have run/,
    ],
    [
      'the last has not run',
      `${ALTER} DROP COLUMN recover_at`,
      /expected the migration IdempotencyRecovery1795478408000 to have run/,
    ],
  ])('refuses to start, and names the missing migrations of the module, if %s', async (_, sql, message) => {
    await broken.sql(sql);
    await expect(startToy(broken.url)).rejects.toThrow(message);
  });

  it('starts although an operator has chosen other vacuum settings than the migration', async () => {
    await broken.sql(`${ALTER} SET (autovacuum_vacuum_scale_factor = 0.1)`);
    await startToy(broken.url);
  });

  it('knows what each of idempotencyMigrations leaves in the database', () => {
    expect(Object.keys(MIGRATIONS)).toEqual(idempotencyMigrations.map(({ name }) => name));
  });
});
