import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import DataLoader from 'dataloader';
import { DataSource } from 'typeorm';
import { CONFIG, type Config, ConfigError } from '../../config.js';
import { faultsOfTables } from '../../postgres/tables.js';
import { isOutage, runStatement } from '../../postgres/transaction.js';
import type { Charge } from '../charge.entity.js';
import { CARD_BEHAVIOURS, type CardToken } from './card-tokens.js';
import { type Authorization, gatewayUnavailable, PaymentGateway } from './payment.gateway.js';

/** Maximum number of captures in one statement. */
const MAX_CAPTURES = 500;

/**
 * A bank that runs inside this process. It stores its captures in its own table, `bank.captures`, outside of the transactions of this
 * service. It honours its idempotency key, so a repeated request never captures twice.
 *
 * It writes all captures of one turn of the event loop with one statement.
 */
@Injectable()
export class SimulatedBank extends PaymentGateway implements OnModuleInit {
  private readonly captures = new DataLoader<Charge, boolean>((charges) => this.write(charges), {
    cache: false,
    maxBatchSize: MAX_CAPTURES,
  });

  constructor(
    private readonly dataSource: DataSource,
    @Inject(CONFIG) config: Config,
  ) {
    super(config.GATEWAY_TIMEOUT_MS);
  }

  /** Checks the rights on the table at the start, because otherwise a capture would fail after the charge is stored as pending. */
  async onModuleInit(): Promise<void> {
    const faults = await faultsOfTables(this.dataSource.manager, { 'bank.captures': ['SELECT', 'INSERT'] });
    if (faults.length > 0) throw new ConfigError(faults.map((fault) => `DATABASE_URL: ${fault}`).join('\n'));
  }

  protected async send(charge: Charge, giveUp: AbortSignal): Promise<Authorization> {
    const behaviour = CARD_BEHAVIOURS[charge.source as CardToken];
    switch (behaviour.kind) {
      case 'captures':
        if ((await this.capture(charge)) && 'delayMs' in behaviour) {
          await pause(behaviour.delayMs, undefined, { signal: giveUp });
        }
        return { status: 'succeeded' };
      case 'declines':
        return { status: 'failed', declineCode: behaviour.declineCode };
      case 'loses the first answer':
        if (await this.capture(charge)) await once(giveUp, 'abort');
        return { status: 'succeeded' };
      case 'unavailable':
        throw gatewayUnavailable();
    }
  }

  /** @returns `true` for the first capture of the charge; `false` for a repetition, which captures nothing */
  private capture(charge: Charge): Promise<boolean> {
    return this.captures.load(charge).catch((error: unknown) => {
      throw isOutage(error) ? gatewayUnavailable(error) : error;
    });
  }

  /** @returns for each charge, in order, whether this statement has captured it */
  private async write(charges: readonly Charge[]): Promise<boolean[]> {
    const captured = await runStatement<{ id: string }>(this.dataSource, CAPTURE, [JSON.stringify(charges)]);
    const first = new Set(captured.map(({ id }) => id));
    return charges.map(({ id }) => first.delete(id));
  }
}

const CAPTURE = `
  INSERT INTO bank.captures (account_id, idempotency_key, charge_id, amount, currency)
  SELECT account_id, id, id, amount, currency
  FROM jsonb_to_recordset($1::jsonb) AS c (account_id text, id text, amount integer, currency text)
  ON CONFLICT (account_id, idempotency_key) DO NOTHING
  RETURNING charge_id AS id`;
