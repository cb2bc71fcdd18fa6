// The server of the README of @node-idempotency/nestjs, with its Redis adapter. Without TypeScript, decorators are called as functions.
import 'reflect-metadata';
import { Body, Controller, Get, HttpException, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import idempotency from '@node-idempotency/nestjs';
import { createCharge, listCharges } from '../charges.js';

const { Idempotent, NodeIdempotencyModule, StorageAdapterEnum } = idempotency;
const { PORT, REDIS_URL, KEY_TTL_SECONDS } = process.env;

class ChargesController {
  async create(charge) {
    const { status, body } = await createCharge(charge);
    if (status >= 400) throw new HttpException(body, status);
    return body;
  }

  list() {
    return listCharges();
  }
}
const decorate = (decorators, method) =>
  Reflect.decorate(
    decorators,
    ChargesController.prototype,
    method,
    Object.getOwnPropertyDescriptor(ChargesController.prototype, method),
  );
Body()(ChargesController.prototype, 'create', 0);
decorate([Idempotent(), Post('charges')], 'create');
decorate([Get('charges')], 'list');
Controller()(ChargesController);

class AppModule {}
Module({
  imports: [
    NodeIdempotencyModule.forRootAsync({
      storage: { adapter: StorageAdapterEnum.redis, options: { url: REDIS_URL } },
      ...(KEY_TTL_SECONDS && { cacheTTLMS: Number(KEY_TTL_SECONDS) * 1000 }),
    }),
  ],
  controllers: [ChargesController],
})(AppModule);

const app = await NestFactory.create(AppModule, { logger: ['error'] });
await app.listen(Number(PORT), '127.0.0.1');
