// Goal: prove that a claimed request can always be finished, and that a handler cannot go on without its key.
// Method: start toys with controllers of their own, which resume their requests, name a resume that is missing, or swallow errors.
import {
  All,
  Body,
  Controller,
  type INestApplication,
  Injectable,
  Module,
  Post,
  type Type,
  VersioningType,
} from '@nestjs/common';
import { NestFactory, RouterModule } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ScheduleModule } from '@nestjs/schedule';
import { TypeOrmModule } from '@nestjs/typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { loadConfig } from '../../src/config.js';
import {
  type AbandonedRequest,
  IdempotencyContext,
  IdempotencyModule,
  Idempotent,
  type IdempotentRequest,
} from '../../src/idempotency/index.js';
import { IDEMPOTENCY_OPTIONS } from '../../src/idempotency/idempotency.options.js';
import { RecordedReply } from '../../src/idempotency/request/reply.js';
import { ResumeRegistry } from '../../src/idempotency/http/resumes.js';
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
  startToy,
  stopToys,
  TWO_COMMITS,
  VARIANTS,
} from '../support/toy.js';
import { failing, intend, oneCommit, place, type Wish } from '../support/toy.handlers.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createToyDatabase();
});
beforeEach(async () => {
  await empty(database);
  logged.length = 0;
});
afterEach(stopToys);
afterAll(() => database?.drop());

@Injectable()
class WishesService {
  resume({ request }: AbandonedRequest) {
    return request.complete(place, { name: 'resumed' });
  }

  resumeSecond({ request }: AbandonedRequest) {
    return request.complete(place, { name: 'resumed as the second version' });
  }
}

const start = (controllers: Type[], platform: 'fastify' | 'express', prepare?: (app: INestApplication) => unknown) =>
  startToy(database.url, { controllers, providers: [WishesService], platform, prepare });

describe.each(VARIANTS.slice(0, 2))('a handler that claims, on $name', ({ platform }) => {
  it('resumes a handler under the operation of its route, with the global prefix and the version', async () => {
    @Controller({ path: 'wishes', version: '1' })
    class WishesController {
      @Post()
      @Idempotent({ resumedBy: [WishesService, 'resume'] })
      create(@Body() wish: object, @IdempotencyContext() request: IdempotentRequest) {
        return failing(request, wish as Wish);
      }
    }
    const toy = await start([WishesController], platform, (app) => {
      app.setGlobalPrefix('api');
      app.enableVersioning({ type: VersioningType.URI });
    });
    expect((await toy.send('key', { path: '/api/v1/wishes' })).status).toBe(503);
    expect(await database.sql('SELECT operation FROM processed_requests')).toEqual([
      { operation: 'POST /api/v1/wishes' },
    ]);
    expect(await toy.recovery.runOnce()).toBe(1);
    expect(await left(database)).toEqual(TWO_COMMITS);
  });

  it('resumes a handler also if the decorator is on its controller', async () => {
    @Controller('wishes')
    @Idempotent({ resumedBy: [WishesService, 'resume'] })
    class WishesController {
      @Post()
      create(@Body() wish: object, @IdempotencyContext() request: IdempotentRequest) {
        return failing(request, wish as Wish);
      }

      helper() {
        return undefined;
      }
    }
    const toy = await start([WishesController], platform);
    expect((await toy.send('key', { path: '/wishes' })).status).toBe(503);
    expect(await toy.recovery.runOnce()).toBe(1);
    expect(await left(database)).toEqual(TWO_COMMITS);
  });

  it('stops the start if two versions of one route, which only a header tells apart, are resumed by different methods', async () => {
    @Controller({ path: 'wishes', version: '1' })
    class FirstController {
      @Post()
      @Idempotent({ resumedBy: [WishesService, 'resume'] })
      create() {
        return undefined;
      }
    }
    @Controller({ path: 'wishes', version: '2' })
    class SecondController {
      @Post()
      @Idempotent({ resumedBy: [WishesService, 'resumeSecond'] })
      create() {
        return undefined;
      }
    }
    const versions = (app: INestApplication) =>
      app.enableVersioning({ type: VersioningType.HEADER, header: 'x-version' });
    await expect(start([FirstController, SecondController], platform, versions)).rejects.toThrow(
      'SecondController.create: expected resumedBy to name WishesService.resume, because another handler of POST /wishes names it',
    );
  });

  it('stops the start if the method that resumes the requests of a handler does not exist', async () => {
    @Controller('wishes')
    class WishesController {
      @Post()
      @Idempotent({ resumedBy: [WishesService, 'missing' as never] })
      create() {
        return undefined;
      }
    }
    await expect(start([WishesController], platform)).rejects.toThrow(
      'WishesController.create: expected WishesService to have the method missing, which resumedBy names',
    );
  });

  it('stops the start if a handler for all methods names a resume, because no operation would have that name', async () => {
    @Controller('wishes')
    class WishesController {
      @All()
      @Idempotent({ resumedBy: [WishesService, 'resume'] })
      create() {
        return undefined;
      }
    }
    await expect(start([WishesController], platform)).rejects.toThrow(
      'WishesController.create: expected one HTTP method instead of @All()',
    );
  });

  it.each([
    ['nothing', undefined as never],
    ['a reply of its own', new RecordedReply(201, {}, '{}')],
  ])('keeps a request unfinished whose resume returns %s instead of the reply of complete()', async (_, resumed) => {
    const toy = await startToy(database.url, { platform });
    toy.handler = failing;
    expect((await toy.send('key')).status).toBe(503);
    toy.resume = () => Promise.resolve(resumed);
    expect(await toy.recovery.runOnce()).toBe(0);
    expect(toy.events.map(({ type }) => type)).not.toContain('recovered');
    expect(await left(database)).toEqual(CLAIMED);
    expect(logged.join('\n')).toContain('its resume did not return the reply of request.complete()');
  });

  it('answers 500 if a handler without a resume calls claim(), and claims nothing', async () => {
    @Controller('wishes')
    class WishesController {
      @Post()
      @Idempotent()
      create(@Body() wish: object, @IdempotencyContext() request: IdempotentRequest) {
        return request.claim(intend, wish as Wish);
      }
    }
    const toy = await start([WishesController], platform);
    expect((await toy.send('key', { path: '/wishes' })).status).toBe(500);
    expect(await left(database)).toEqual(NOTHING);
    expect(logged.join('\n')).toContain('POST /wishes uses claim(), so it needs @Idempotent({ resumedBy');
  });
});

describe('a controller that two modules declare', () => {
  it('resumes a controller that two modules declare under the operations of both modules', async () => {
    @Controller('wishes')
    class WishesController {
      @Post()
      @Idempotent({ resumedBy: [WishesService, 'resume'] })
      create() {
        return undefined;
      }
    }
    const parts = { controllers: [WishesController], providers: [WishesService] };
    @Module(parts)
    class FirstModule {}
    @Module(parts)
    class SecondModule {}
    @Module({
      imports: [
        FirstModule,
        SecondModule,
        RouterModule.register([
          { path: 'first', module: FirstModule },
          { path: 'second', module: SecondModule },
        ]),
        TypeOrmModule.forRoot({ type: 'postgres', url: database.url, extra: LIMITS, retryAttempts: 0 }),
        ScheduleModule.forRoot(),
        IdempotencyModule.forRoot({ scope: () => 'acct_1' }),
      ],
    })
    class TwiceModule {}
    const app = await NestFactory.create(TwiceModule, new FastifyAdapter(), { logger: false, abortOnError: false });
    await app.init();
    const operations = [...app.get(ResumeRegistry).all.keys()];
    await app.close();
    expect(operations).toEqual(['POST /first/wishes', 'POST /second/wishes']);
  });
});

describe('a handler that swallows the error with which claim() or complete() ends it', () => {
  it.each([
    ['returns something else', () => Promise.resolve('something else')],
    ['completes the request again', (request: IdempotentRequest, wish: Wish) => request.complete(place, wish)],
  ])(
    'answers 500 to a duplicate, and logs the reason, if a handler swallows the error and then %s',
    async (_, goOn) => {
      const toy = await startToy(database.url);
      expect((await toy.send('key')).status).toBe(201);
      toy.handler = async (request, wish) => {
        await request.complete(place, wish).catch(() => undefined);
        return goOn(request, wish);
      };
      expect((await toy.send('key')).status).toBe(500);
      expect(logged.join('\n')).toContain('rethrow');
      expect(await left(database)).toEqual(ONE_COMMIT);
      toy.handler = oneCommit;
      expect(isReplay(await toy.send('key'))).toBe(true);
    },
  );
});

describe('IdempotencyModule.forRoot', () => {
  it('needs only a scope, and has the defaults of the service for everything else', async () => {
    @Module({
      imports: [
        TypeOrmModule.forRoot({ type: 'postgres', url: database.url, extra: LIMITS, retryAttempts: 0 }),
        ScheduleModule.forRoot(),
        IdempotencyModule.forRoot({ scope: () => 'acct_1' }),
      ],
    })
    class SmallestModule {}
    const app = await NestFactory.createApplicationContext(SmallestModule, { logger: false, abortOnError: false });
    const config = loadConfig({});
    expect(app.get<object>(IDEMPOTENCY_OPTIONS)).toMatchObject({
      retentionHours: config.IDEMPOTENCY_RETENTION_HOURS,
      leaseSeconds: config.IDEMPOTENCY_LEASE_SECONDS,
      waitMs: config.IDEMPOTENCY_WAIT_MS,
      maxGroupSize: config.IDEMPOTENCY_GROUP_SIZE,
      cacheBytes: config.IDEMPOTENCY_CACHE_MIB * 2 ** 20,
      recoveryIntervalMs: config.RECOVERY_INTERVAL_MS,
      sweepCron: config.IDEMPOTENCY_SWEEP_CRON,
    });
    await app.close();
  });
});
