// Goal: prove that the module takes its options from `forRoot` and from `forRootAsync`, with a default for each option except `scope`.
// Method: start applications of a few lines, with their options given in both ways, and read the options and a reply.
import { Controller, type DynamicModule, type INestApplication, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ScheduleModule } from '@nestjs/schedule';
import { TypeOrmModule } from '@nestjs/typeorm';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import request from 'supertest';
import {
  CONNECTION_LIMITS,
  Idempotency,
  IdempotencyContext,
  IdempotencyModule,
  Idempotent,
  type IdempotentRequest,
  perRequest,
} from '../../src/idempotency/index.js';
import { IDEMPOTENCY_DEFAULTS } from '../../src/idempotency/idempotency.options.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const scope = () => 'acct_1';
const answer = perRequest<string, { status: number; body: string }>((_, { input }) =>
  Promise.resolve({ status: 201, body: input }),
);

@Controller('marbles')
class MarblesController {
  @Post()
  @Idempotent()
  create(@IdempotencyContext() keyed: IdempotentRequest) {
    return keyed.complete(answer, 'marble');
  }
}

/** A setting that an application has in a provider. */
class Settings {
  waitMs = 1_234;
}

@Module({ providers: [Settings], exports: [Settings] })
class SettingsModule {}

describe('the options of the module', () => {
  let database: TestDatabase;
  let app: INestApplication | undefined;
  beforeAll(async () => {
    database = await createDatabase();
  });
  afterEach(async () => {
    await app?.close();
  });
  afterAll(async () => {
    await database?.drop();
  });

  async function start(idempotency: DynamicModule): Promise<INestApplication> {
    const orm = TypeOrmModule.forRoot({ type: 'postgres', url: database.url, extra: CONNECTION_LIMITS });
    @Module({ imports: [orm, ScheduleModule.forRoot(), idempotency], controllers: [MarblesController] })
    class AppModule {}
    app = await NestFactory.create(AppModule, new FastifyAdapter(), { logger: false, abortOnError: false });
    await app.listen(0, '127.0.0.1');
    return app;
  }

  it.each<[string, DynamicModule, object]>([
    ['forRoot with a scope only', IdempotencyModule.forRoot({ scope }), {}],
    ['forRoot with another option', IdempotencyModule.forRoot({ scope, maxGroupSize: 1 }), { maxGroupSize: 1 }],
    [
      'forRootAsync with a factory and what it needs',
      IdempotencyModule.forRootAsync({
        imports: [SettingsModule],
        inject: [Settings],
        useFactory: async ({ waitMs }: Settings) => Promise.resolve({ scope, waitMs }),
      }),
      { waitMs: 1_234 },
    ],
  ])(
    'have their defaults where an application gives none, and make a handler idempotent: %s',
    async (_, module, given) => {
      const started = await start(module);
      expect(started.get(Idempotency).options).toEqual({ ...IDEMPOTENCY_DEFAULTS, scope, ...given });
      const send = async () =>
        await request(await started.getUrl())
          .post('/marbles')
          .set('idempotency-key', JSON.stringify(given).replaceAll(/\W/g, '_'));
      expect((await send()).text).toBe('"marble"');
      expect((await send()).headers['idempotent-replayed']).toBe('true');
    },
  );

  it('refuse to start if a factory of forRootAsync returns no scope', async () => {
    const module = IdempotencyModule.forRootAsync({ useFactory: () => ({}) as { scope: () => string } });
    await expect(start(module)).rejects.toThrow(/IdempotencyModule: expected scope\(request\)/);
  });
});
