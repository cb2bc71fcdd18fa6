import { Controller, Get, HttpCode, Inject } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { migrations } from '../../migrations/index.js';
import { Public } from '../accounts/public.decorator.js';
import { ApiProblems } from '../http/openapi.decorators.js';
import { Problem } from '../http/problem.js';
import { Drain, shuttingDown } from './drain.js';
import { DatabaseLooks, kept } from './looks.js';

class Health {
  @ApiProperty({ enum: ['ok'] })
  status!: string;
}

@ApiTags('operations')
@Public()
@Controller('health')
export class HealthController {
  private readonly missingMigrations = kept(() => this.lookForMigrations());

  constructor(
    private readonly dataSource: DataSource,
    private readonly looks: DatabaseLooks,
    @Inject(Drain) private readonly drain: Drain,
  ) {}

  @Get('live')
  @HttpCode(200)
  @ApiOperation({
    summary: 'The process runs',
    description: 'Touches nothing else: a database that is away is no reason to restart the process.',
  })
  @ApiOkResponse({ type: Health })
  live(): Health {
    return { status: 'ok' };
  }

  @Get('ready')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Requests can be served',
    description: 'The database answers and has every migration. An answer can be a second old.',
  })
  @ApiProblems('database_unavailable', 'shutting_down')
  @ApiOkResponse({ type: Health })
  async ready(): Promise<Health> {
    if (this.drain.started) throw shuttingDown();
    const missing = await this.missingMigrations();
    if (missing === undefined) throw notReady('The database does not answer.');
    if (missing.length > 0) throw notReady(`The database lacks migrations: ${missing.join(', ')}.`);
    return { status: 'ok' };
  }

  /** The names of the migrations that the database lacks; `undefined` if it does not answer. */
  private async lookForMigrations(): Promise<string[] | undefined> {
    try {
      const rows = await this.looks.take(() =>
        this.dataSource.query<{ name: string }[]>('SELECT name FROM migrations'),
      );
      const done = new Set(rows.map(({ name }) => name));
      return migrations.map(({ name }) => name).filter((name) => !done.has(name));
    } catch {
      return undefined;
    }
  }
}

const notReady = (detail: string) => new Problem('database_unavailable', detail, { retryAfterSeconds: 1 });
