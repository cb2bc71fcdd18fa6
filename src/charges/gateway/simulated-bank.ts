import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { CONFIG, type Config } from '../../config.js';
import { isDatabaseUnavailable } from '../../idempotency/index.js';
import type { Charge } from '../charge.entity.js';
import { CARD_BEHAVIOURS, type CardToken } from './card-tokens.js';
import { type Authorization, gatewayUnavailable, PaymentGateway } from './payment.gateway.js';

/**
 * A bank with a memory of its own: `bank.captures`, written by statements of its own, outside our transactions.
 * It honours its idempotency key, so whatever we forget, it knows what it has captured.
 */
@Injectable()
export class SimulatedBank extends PaymentGateway {
  constructor(
    private readonly dataSource: DataSource,
    @Inject(CONFIG) config: Config,
  ) {
    super(config.GATEWAY_TIMEOUT_MS);
  }

  protected async send(charge: Charge, signal: AbortSignal): Promise<Authorization> {
    const behaviour = CARD_BEHAVIOURS[charge.source as CardToken];
    switch (behaviour.kind) {
      case 'captures':
        if ((await this.capture(charge)) && 'delayMs' in behaviour) {
          await pause(behaviour.delayMs, undefined, { signal });
        }
        return { status: 'succeeded' };
      case 'declines':
        return { status: 'failed', declineCode: behaviour.declineCode };
      case 'loses the first answer':
        if (await this.capture(charge)) await once(signal, 'abort');
        return { status: 'succeeded' };
      case 'unavailable':
        throw gatewayUnavailable();
    }
  }

  /** @returns whether this was the first time, rather than a repetition that captures nothing */
  private async capture({ account_id, id, amount, currency }: Charge): Promise<boolean> {
    const captured = await this.dataSource
      .query<unknown[]>(
        `INSERT INTO bank.captures (account_id, idempotency_key, charge_id, amount, currency) VALUES ($1, $2, $2, $3, $4)
         ON CONFLICT (account_id, idempotency_key) DO NOTHING RETURNING true`,
        [account_id, id, amount, currency],
      )
      .catch((error: unknown) => {
        throw isDatabaseUnavailable(error) ? gatewayUnavailable(error) : error;
      });
    return captured.length === 1;
  }
}
