import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import DataLoader from 'dataloader';
import { DataSource } from 'typeorm';
import { CONFIG, type Config, ConfigError } from '../../config.js';
import { faultsOfTables } from '../../postgres/tables.js';
import { isOutage, runStatement } from '../../postgres/transaction.js';
import type { Charge } from '../charge.entity.js';
import type { Refund } from '../refunds/refund.entity.js';
import { CARD_BEHAVIOURS, type CardToken } from './card-tokens.js';
import { type Authorization, gatewayUnavailable, PaymentGateway, type RefundDecision } from './payment.gateway.js';

/** The rights that the statements need on each table. */
const RIGHTS = ['SELECT', 'INSERT'];
/** Maximum number of captures in one statement. */
const MAX_CAPTURES = 500;

/**
 * A bank that runs inside this process. It stores captures and refunds in tables of its own, `bank.captures` and `bank.refunds`, outside of
 * the transactions of this service. It honours its idempotency key, so a repeated request never moves money twice.
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

  /** Checks the rights on the tables at the start, because otherwise a capture would fail after the charge is stored as pending. */
  async onModuleInit(): Promise<void> {
    const faults = await faultsOfTables(this.dataSource.manager, { 'bank.captures': RIGHTS, 'bank.refunds': RIGHTS });
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
        if (await this.capture(charge)) await this.loseAnswer(giveUp);
        return { status: 'succeeded' };
      case 'unavailable':
        throw gatewayUnavailable();
    }
  }

  /** Pays every refund. The answer to the first attempt is lost if the answer to the first attempt of the charge was lost. */
  protected async sendRefund(refund: Refund, { source }: Charge, giveUp: AbortSignal): Promise<RefundDecision> {
    const isFirst = await this.payBack(refund);
    if (isFirst && CARD_BEHAVIOURS[source as CardToken].kind === 'loses the first answer')
      await this.loseAnswer(giveUp);
    return { status: 'succeeded' };
  }

  /** Answers nothing until the caller gives up. */
  private async loseAnswer(giveUp: AbortSignal): Promise<void> {
    await once(giveUp, 'abort');
  }

  /** @returns `true` for the first attempt of the refund; `false` for a repetition, which pays nothing */
  private async payBack(refund: Refund): Promise<boolean> {
    const { account_id, id, charge_id, amount, currency } = refund;
    try {
      const paid = await runStatement(this.dataSource, PAY_BACK, [account_id, id, charge_id, amount, currency]);
      return paid.length > 0;
    } catch (error) {
      throw isOutage(error) ? gatewayUnavailable(error) : error;
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

// $1 account, $2 key, $3 charge, $4 amount, $5 currency
const PAY_BACK = `
  INSERT INTO bank.refunds (account_id, idempotency_key, charge_id, amount, currency) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (account_id, idempotency_key) DO NOTHING
  RETURNING idempotency_key`;
