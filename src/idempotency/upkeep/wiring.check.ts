import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { REDIRECT_METADATA, RENDER_METADATA, ROUTE_ARGS_METADATA, SSE_METADATA } from '@nestjs/common/constants.js';
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { DataSource } from 'typeorm';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { IDEMPOTENT } from '../http/idempotent.metadata.js';
import { checkMigrations } from './migrations.check.js';

type Handler = (...args: unknown[]) => unknown;

/** Stops the start if the wiring looks idempotent but is not. */
@Injectable()
export class WiringCheck implements OnModuleInit {
  private readonly logger = new Logger(WiringCheck.name);

  constructor(
    private readonly dataSource: DataSource,
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {}

  async onModuleInit(): Promise<void> {
    if (typeof this.options.scope !== 'function') {
      throw new Error(
        'IdempotencyModule: expected scope(request), which returns the account of a request; without it, callers would share keys',
      );
    }
    for (const { instance } of this.discovery.getControllers()) {
      if (instance) this.checkController(instance as Record<string, Handler>);
    }
    await checkMigrations(this.dataSource);
    await this.checkConstraint();
    await this.checkTable();
    await this.checkSettings();
  }

  private checkController(controller: Record<string, Handler>): void {
    const type = controller.constructor as unknown as { name: string };
    for (const name of this.scanner.getAllMethodNames(Object.getPrototypeOf(controller) as object)) {
      const handler = controller[name];
      const isIdempotent = [handler, type].some((target) => target && Reflect.getMetadata(IDEMPOTENT, target));
      if (!handler || !isIdempotent) continue;
      const parameters = (Reflect.getMetadata(ROUTE_ARGS_METADATA, type, name) ?? {}) as object;
      const answersItself = Object.keys(parameters).some((parameter) =>
        [RouteParamtypes.RESPONSE, RouteParamtypes.NEXT].includes(Number(parameter.split(':')[0])),
      );
      if (answersItself) {
        throw new Error(
          `${type.name}.${name}: an @Idempotent() handler cannot use @Res() or @Next(), because a reply that it sends itself is not recorded`,
        );
      }
      for (const metadata of [REDIRECT_METADATA, RENDER_METADATA, SSE_METADATA]) {
        if (Reflect.hasMetadata(metadata, handler)) {
          throw new Error(
            `${type.name}.${name}: an @Idempotent() handler cannot redirect, render or stream, because only JSON replies are recorded`,
          );
        }
      }
    }
  }

  /** The promise of the module depends on this constraint: without it, two transactions could both insert the same key. */
  private async checkConstraint(): Promise<void> {
    const constraints = await this.dataSource.query<{ columns: string[] }[]>(`
      SELECT array_agg(a.attname::text ORDER BY a.attname) AS columns
      FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
      WHERE i.indrelid = to_regclass('processed_requests') AND i.indisunique AND i.indisvalid AND i.indimmediate
        AND i.indpred IS NULL AND i.indexprs IS NULL
      GROUP BY i.indexrelid
      HAVING bool_and(a.attnotnull)`); // because a unique index allows several rows with NULL
    const expected = ['account_id', 'idempotency_key'];
    if (!constraints.some(({ columns }) => columns.join() === expected.join())) {
      throw new Error('processed_requests: expected a unique constraint on (account_id, idempotency_key)');
    }
  }

  /** The module must be able to write keys, and keys must survive a crash of the database, which empties an unlogged table. */
  private async checkTable(): Promise<void> {
    const [table] = await this.dataSource.query<{ isLogged: boolean; lacking: string[] }[]>(`
      SELECT NOT EXISTS (SELECT FROM pg_class
               WHERE relpersistence <> 'p' AND (oid = keys OR oid IN (SELECT relid FROM pg_partition_tree(keys)))) AS "isLogged",
             ARRAY (SELECT needed FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS needed
                    WHERE NOT has_table_privilege(keys, needed)) AS lacking
      FROM to_regclass('processed_requests') AS keys`);
    if (!table?.isLogged) {
      throw new Error(
        'processed_requests: expected a logged table, because a crash empties an unlogged one; use SET LOGGED',
      );
    }
    if (table.lacking.length > 0) {
      throw new Error(`processed_requests: expected the right to ${table.lacking.join(', ')}`);
    }
  }

  /** Without limits on the connection, a frozen process that holds a row lock would block other processes forever. */
  private async checkSettings(): Promise<void> {
    const [settings] = await this.dataSource.query<Record<string, string>[]>(`
      SELECT current_setting('lock_timeout') AS lock_timeout, current_setting('statement_timeout') AS statement_timeout,
             current_setting('idle_in_transaction_session_timeout') AS idle_in_transaction_session_timeout,
             current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,
             current_setting('synchronous_standby_names') AS synchronous_standby_names`);
    const { synchronous_commit, fsync, synchronous_standby_names, ...limits } = settings ?? {};
    const unlimited = Object.keys(limits).filter((name) => limits[name] === '0');
    if (unlimited.length > 0) {
      throw new Error(
        `${unlimited.join(', ')}: expected a limit on every connection, so that a frozen process cannot block a key forever`,
      );
    }
    if (synchronous_commit === 'off' || fsync === 'off') {
      this.logger.warn(
        'synchronous_commit or fsync is off: a crash of the database can lose replies that were acknowledged',
      );
    }
    if (synchronous_commit === 'local' && synchronous_standby_names) {
      this.logger.warn(
        'synchronous_commit is local although synchronous_standby_names is set: a failover can lose replies that were acknowledged',
      );
    }
  }
}
