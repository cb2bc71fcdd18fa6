import 'reflect-metadata';
import { Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Bank } from '../ladder/bank.js';

/** Serves one step of the ladder, as a plain Nest application without any setting that a tutorial does not have. */
const { LADDER_STEP: step = '', DATABASE_URL: url } = process.env;
const { ChargesController } = (await import(`../ladder/${step}.js`)) as { ChargesController: Type };

@Module({
  imports: [TypeOrmModule.forRoot({ type: 'postgres', url, poolErrorHandler: () => undefined })],
  controllers: [ChargesController],
  providers: [Bank],
})
class StepModule {}

process.on('disconnect', () => process.exit());
const app = await NestFactory.create(StepModule, new FastifyAdapter(), { logger: ['error', 'warn'] });
await app.listen(0, '127.0.0.1');
process.stderr.write(`${step} is served at ${await app.getUrl()}, on loopback only\n`);
