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
import {
  type Authorization,
  gatewayUnavailable,
  limitsOf,
  PaymentGateway,
  type RefundDecision,
} from './payment.gateway.js';

/** The rights that the statements need on each table. */
const RIGHTS = ['SELECT', 'INSERT', 'UPDATE'];
/** Maximum number of captures in one statement. */
const MAX_CAPTURES = 500;

/**
 * A bank that runs inside this process. It stores captures and refunds in tables of its own, `bank.captures` and `bank.refunds`, outside of
 * the transactions of this service. It honours its idempotency key, so a repeated request does not move money twice. Like every bank it
 * forgets its keys: after `GATEWAY_KEY_LIFE_SECONDS`, a request with the same key moves money again.
 *
 * It writes all captures of one turn of the event loop with one statement.
 */
@Injectable()
export class SimulatedBank extends PaymentGateway implements OnModuleInit {
  readonly name = 'simulated';
  private readonly captures = new DataLoader<Charge, boolean>((charges) => this.write(charges), {
    cache: false,
    maxBatchSize: MAX_CAPTURES,
  });

  constructor(
    private readonly dataSource: DataSource,
    @Inject(CONFIG) config: Config,
  ) {
    super(limitsOf(config));
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

  /** A decline is decided by the token alone, and the bank stores captures only. */
  protected async find({ account_id, id, source }: Charge): Promise<Authorization | undefined> {
    const behaviour = CARD_BEHAVIOURS[source as CardToken];
    if (behaviour.kind === 'declines') return { status: 'failed', declineCode: behaviour.declineCode };
    const captures = await runStatement(this.dataSource, FIND, [account_id, id]).catch(unavailable);
    return captures.length > 0 ? { status: 'succeeded' } : undefined;
  }

  /** Pays every refund. The answer to the first attempt is lost if the first answer about the charge was lost. */
  protected async sendRefund(refund: Refund, { source }: Charge, giveUp: AbortSignal): Promise<RefundDecision> {
    const isFirst = await this.payBack(refund);
    if (isFirst && CARD_BEHAVIOURS[source as CardToken].kind === 'loses the first answer')
      await this.loseAnswer(giveUp);
    return { status: 'succeeded' };
  }

  protected async findRefund({ account_id, id }: Refund): Promise<RefundDecision | undefined> {
    const refunds = await runStatement(this.dataSource, FIND_REFUND, [account_id, id]).catch(unavailable);
    return refunds.length > 0 ? { status: 'succeeded' } : undefined;
  }

  /** Answers nothing until the caller gives up. */
  private async loseAnswer(giveUp: AbortSignal): Promise<void> {
    await once(giveUp, 'abort');
  }

  /** @returns `true` for the first attempt of the refund; `false` for a repetition, which pays nothing */
  private async payBack({ account_id, id, charge_id, amount, currency }: Refund): Promise<boolean> {
    const values = [account_id, id, charge_id, amount, currency, this.limits.refundKeyLifeMs / 1000];
    const pay = () => runStatement<{ is_paid: boolean }>(this.dataSource, PAY_BACK, values).catch(unavailable);
    let [row] = await pay();
    // One statement cannot forget a key and use it again, so a refund with a forgotten key needs a second statement.
    if (row && !row.is_paid) [row] = await pay();
    return row?.is_paid ?? false;
  }

  /** @returns `true` for the first capture of the charge; `false` for a repetition, which captures nothing */
  private capture(charge: Charge): Promise<boolean> {
    return this.captures.load(charge).catch(unavailable);
  }

  /** @returns for each charge, in order, whether this statement has captured it */
  private async write(charges: readonly Charge[]): Promise<boolean[]> {
    // One statement cannot forget a key and use it again, so charges with a forgotten key need a second statement.
    const first = new Set<string>();
    let left = [...new Map(charges.map((charge) => [charge.id, charge])).values()];
    while (left.length > 0) {
      const asked = left.map(({ account_id, id, amount, currency }) => ({ account_id, id, amount, currency }));
      const values = [JSON.stringify(asked), this.limits.chargeKeyLifeMs / 1000];
      const written = await runStatement<Captured>(this.dataSource, CAPTURE, values, 'bank_capture');
      for (const { id, is_captured } of written) if (is_captured) first.add(id);
      const forgotten = new Set(written.filter(({ is_captured }) => !is_captured).map(({ id }) => id));
      left = left.filter(({ id }) => forgotten.has(id));
    }
    return charges.map(({ id }) => first.delete(id));
  }
}

/** A row that CAPTURE returns. */
interface Captured {
  id: string;
  is_captured: boolean;
}

function unavailable(error: unknown): never {
  throw isOutage(error) ? gatewayUnavailable(error) : error;
}

// $1 charges, $2 life of a key in s. A row that is too old loses its key, so that the key is free.
const CAPTURE = `
  INSERT INTO bank.captures AS known (account_id, idempotency_key, charge_id, amount, currency)
  SELECT account_id, id, id, amount, currency
  FROM jsonb_to_recordset($1::jsonb) AS c (account_id text, id text, amount integer, currency text)
  ON CONFLICT (account_id, idempotency_key) DO UPDATE
    SET idempotency_key = known.idempotency_key || ' forgotten ' || clock_timestamp()
    WHERE known.captured_at <= clock_timestamp() - make_interval(secs => $2)
  RETURNING charge_id AS id, idempotency_key = charge_id AS is_captured`;

// $1 account, $2 charge. The last capture of a charge has the key.
const FIND = `SELECT FROM bank.captures WHERE account_id = $1 AND idempotency_key = $2`;

// $1 account, $2 key, $3 charge, $4 amount, $5 currency, $6 life of a key in s
const PAY_BACK = `
  INSERT INTO bank.refunds AS known (account_id, idempotency_key, charge_id, amount, currency) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (account_id, idempotency_key) DO UPDATE
    SET idempotency_key = known.idempotency_key || ' forgotten ' || clock_timestamp()
    WHERE known.refunded_at <= clock_timestamp() - make_interval(secs => $6)
  RETURNING idempotency_key = $2 AS is_paid`;

// $1 account, $2 key
const FIND_REFUND = `SELECT FROM bank.refunds WHERE account_id = $1 AND idempotency_key = $2`;
