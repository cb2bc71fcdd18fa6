import { Controller, Get, HttpCode } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { DataSource } from 'typeorm';
import { migrations } from '../../migrations/index.js';
import { Public } from '../http/public.decorator.js';
import { ApiProblems } from '../http/openapi.decorators.js';
import { Problem } from '../http/problem.js';
import { Drain, shuttingDown } from './drain.js';
import { DatabaseLooks, kept } from './looks.js';

interface DatabaseState {
  /** The names of the migrations that have run. */
  migrated: string[];
  isStandby: boolean;
  isReadOnly: boolean;
}

class Health {
  @ApiProperty({ enum: ['ok'] })
  status!: string;
}

@ApiTags('operations')
@Public()
@Controller('health')
export class HealthController {
  private readonly database = kept(() => this.lookAtDatabase());

  constructor(
    private readonly dataSource: DataSource,
    private readonly looks: DatabaseLooks,
    private readonly drain: Drain,
  ) {}

  @Get('live')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Check that the process runs',
    description:
      'Does not check the database, because a restart of the process does not help if the database is unavailable.',
  })
  @ApiOkResponse({ type: Health })
  live(): Health {
    return { status: 'ok' };
  }

  @Get('ready')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Check that the service can serve requests',
    description: 'The database answers, accepts writes and has every migration. The answer can be one second old.',
  })
  @ApiProblems('database_unavailable', 'shutting_down')
  @ApiOkResponse({ type: Health })
  async ready(): Promise<Health> {
    if (this.drain.started) throw shuttingDown();
    const database = await this.database();
    if (database === undefined) throw notReady('The database does not answer.');
    if (database.isStandby) throw notReady('The database is a standby.');
    if (database.isReadOnly) throw notReady('The database is read-only.');
    const missing = migrations.map(({ name }) => name).filter((name) => !database.migrated.includes(name));
    if (missing.length > 0) throw notReady(`The database lacks migrations: ${missing.join(', ')}.`);
    return { status: 'ok' };
  }

  /** `undefined` if the database does not answer. */
  private async lookAtDatabase(): Promise<DatabaseState | undefined> {
    try {
      // A standby, or a server that an operator has made read-only, also answers queries but cannot serve requests.
      const [state] = await this.looks.take(() =>
        this.dataSource.query<DatabaseState[]>(`
          SELECT ARRAY (SELECT name::text FROM migrations) AS migrated,
                 pg_is_in_recovery() AS "isStandby", current_setting('transaction_read_only') = 'on' AS "isReadOnly"`),
      );
      return state;
    } catch {
      return undefined;
    }
  }
}

const notReady = (detail: string) => new Problem('database_unavailable', detail, { retryAfterSeconds: 1 });
