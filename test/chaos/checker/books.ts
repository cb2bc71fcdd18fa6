import type { DatabaseState, Snapshot } from '../evidence.js';
import { chargeIdOf, named } from './stories.js';
import type { Report } from './verdict.js';

/** Sums, by whatever they are of. */
class Sums extends Map<string, number> {
  add(name: string, amount: number): this {
    return this.set(name, (this.get(name) ?? 0) + amount);
  }

  /** Names at which two differ, with both sums. */
  differences(other: Sums): string[] {
    return [...new Set([...this.keys(), ...other.keys()])]
      .filter((name) => (this.get(name) ?? 0) !== (other.get(name) ?? 0))
      .map((name) => `${name}: ${this.get(name) ?? 0} and ${other.get(name) ?? 0}`);
  }
}

/** What was begun has been finished, with or without its client. */
export function checkFinished(
  { charges, requests, messages, deadLetters }: DatabaseState,
  when: string,
  report: Report,
): void {
  for (const { account_id, idempotency_key, completed } of requests) {
    if (!completed) report('nothing unfinished', `${named(account_id, idempotency_key)}: in progress ${when}`);
  }
  for (const { id, status } of charges)
    if (status === 'pending') report('nothing unfinished', `${id}: pending ${when}`);
  for (const { id, published } of messages) if (!published) report('nothing unfinished', `${id}: unpublished ${when}`);
  for (const { consumer, message_id } of deadLetters) {
    report('nothing unfinished', `${message_id}: a dead letter of ${consumer} ${when}`);
  }
}

/** A record and the effect that it stands for are settled together, and a settled record stays as it is. */
export function checkRecords({ charges, requests, orders, changes }: DatabaseState, report: Report): void {
  const byId = new Map(charges.map((charge) => [charge.id, charge]));
  const placed = new Set(orders.map(({ account_id, order_id }) => named(account_id, order_id)));
  for (const { account_id, idempotency_key, request_id, operation, completed } of requests) {
    const about = named(account_id, idempotency_key);
    if (operation === 'POST /charges') {
      const status = byId.get(chargeIdOf(request_id))?.status;
      const settled = status === 'succeeded' || status === 'failed';
      if (settled !== completed) {
        report(
          'record and effect agree',
          `${about}: ${completed ? 'completed' : 'in progress'}, its charge ${status ?? 'missing'}`,
        );
      }
    } else if (placed.has(about) !== completed) {
      report(
        'record and effect agree',
        `${about}: ${completed ? 'completed, without an order' : 'in progress, and ordered'}`,
      );
    }
  }
  const unfinished = new Set(
    requests.filter(({ completed }) => !completed).map(({ request_id }) => chargeIdOf(request_id)),
  );
  for (const { id, status } of charges) {
    if (status === 'pending' && !unfinished.has(id))
      report('record and effect agree', `${id}: pending, and on no record`);
  }
  for (const { account_id, idempotency_key, change } of changes) {
    report('final is final', `${named(account_id, idempotency_key)}: ${change} of a completed record`);
  }
}

/** The bank has decided on each charge under one key, as it is on record here, and on nothing else. */
export function checkBank({ database, journal }: Snapshot, report: Report): void {
  const charges = new Map(database.charges.map((charge) => [charge.id, charge]));
  const keys = new Map<string, Set<string>>();
  for (const { account, key, charge, amount, decision } of journal) {
    keys.set(charge, (keys.get(charge) ?? new Set()).add(`${account}:${key}`));
    const row = charges.get(charge);
    if (row && (row.account_id !== account || row.amount !== amount)) {
      report(
        'accounts do not cross',
        `${charge}: ${amount} of ${account} at the bank, ${row.amount} of ${row.account_id} here`,
      );
    }
    if (row?.status !== (decision === 'captured' ? 'succeeded' : 'failed')) {
      report('record and effect agree', `${charge}: ${decision}, and ${row?.status ?? 'missing'} here`);
    }
  }
  for (const [charge, used] of keys) {
    if (used.size > 1) report('one gateway key', `${charge}: ${[...used].join(' and ')}`);
  }
}

/** Three books, kept by three: the charges here, what messages have added up, and what the bank has captured. */
export function checkBooks({ database, journal }: Snapshot, report: Report): void {
  const [charges, balances, captures] = [new Sums(), new Sums(), new Sums()];
  for (const { account_id, currency, amount, status } of database.charges) {
    if (status === 'succeeded') charges.add(named(account_id, currency), amount);
  }
  for (const { account_id, of: currency, amount } of database.balances)
    balances.add(named(account_id, currency), amount);
  for (const { account, currency, amount, decision } of journal) {
    if (decision === 'captured') captures.add(named(account, currency), amount);
  }
  for (const about of charges.differences(balances)) report('the books agree', `charges and balance of ${about}`);
  for (const about of charges.differences(captures)) report('the books agree', `charges and captures of ${about}`);
}

/** Stock is taken relative to what is there: once for each order, and never more than there is. */
export function checkStock({ orders, stock }: DatabaseState, initial: number, report: Report): void {
  const taken = new Sums();
  for (const { account_id, items } of orders) {
    for (const { item_id, quantity } of items) taken.add(named(account_id, item_id), quantity);
  }
  const gone = new Sums();
  for (const { account_id, item_id, stock: left } of stock) gone.add(named(account_id, item_id), initial - left);
  for (const about of taken.differences(gone)) report('one effect', `ordered and taken of ${about}`);
}

/** Each charge is told of once, each message has been let in once, and the orders know what has been paid. */
export function checkMessages({ charges, orders, messages, processed, payments }: DatabaseState, report: Report): void {
  const [due, told] = [new Sums(), new Sums()];
  const succeeded = charges.filter(({ status }) => status === 'succeeded');
  for (const { account_id, id, order_id } of succeeded) {
    const message = named(account_id, `charge.succeeded.${id}`);
    for (const whom of order_id === null ? ['outbox', 'balance'] : ['outbox', 'balance', 'orders'])
      due.add(`${whom} ${message}`, 1);
  }
  for (const { account_id, id } of messages) told.add(`outbox ${named(account_id, id)}`, 1);
  for (const { account_id, consumer, message_id } of processed)
    told.add(`${consumer} ${named(account_id, message_id)}`, 1);
  for (const about of due.differences(told)) report('messages once', `due and told: ${about}`);
  const [charged, paid] = [new Sums(), new Sums()];
  for (const { account_id, order_id, amount } of succeeded)
    if (order_id !== null) charged.add(named(account_id, order_id), amount);
  for (const { account_id, of: order, amount } of payments) paid.add(named(account_id, order), amount);
  for (const about of charged.differences(paid)) report('messages once', `charged and paid of ${about}`);
  for (const { account_id, order_id, amount, status } of orders) {
    const about = named(account_id, order_id);
    const isPaid = (paid.get(about) ?? 0) >= amount;
    if (isPaid !== (status === 'paid'))
      report('messages once', `${about}: ${status}, and ${paid.get(about) ?? 0} of ${amount} paid`);
  }
}
