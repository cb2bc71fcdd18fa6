import { Injectable, ServiceUnavailableException } from '@nestjs/common';

/** The body of `POST /charges`. */
export interface NewCharge {
  amount: number;
  currency: string;
}

export interface Charge extends NewCharge {
  id: string;
  status: string;
}

/** The bank that every step calls. It is another process, as a real payment gateway is, so no transaction of ours can undo a capture. */
@Injectable()
export class Bank {
  /**
   * Takes the money of a charge.
   *
   * @param idempotencyKey the bank captures once for each key, and once for each request without a key
   * @throws ServiceUnavailableException if the bank has not answered; it may have captured
   */
  async capture({ id, amount, currency }: Omit<Charge, 'status'>, idempotencyKey?: string): Promise<void> {
    const answer = await fetch(`${process.env['GATEWAY_URL']}/captures`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(idempotencyKey && { 'idempotency-key': idempotencyKey }) },
      body: JSON.stringify({ charge_id: id, amount, currency }),
    }).catch(() => undefined);
    if (!answer?.ok) {
      throw new ServiceUnavailableException({ outcome: 'unknown', message: 'The bank has not answered. Try again.' });
    }
  }
}
