import { consumersOf } from '../consumers.js';
import { eventIdOf } from '../evidence.js';
import type { DatabaseState, Evidence, Snapshot } from '../evidence.js';
import { chargeIdOf, named, REFUND, refundIdOf } from './stories.js';
import type { Report } from './verdict.js';

/** The place of a message that was deleted in the transaction of its effects. */
const TAKEN = 'taken fresh';

/** Sums by name, such as amounts by account and currency. */
class Sums extends Map<string, number> {
  add(name: string, amount: number): this {
    return this.set(name, (this.get(name) ?? 0) + amount);
  }

  /** The names whose sums differ, with both sums. */
  differences(other: Sums): string[] {
    return [...new Set([...this.keys(), ...other.keys()])]
      .filter((name) => (this.get(name) ?? 0) !== (other.get(name) ?? 0))
      .map((name) => `${name}: ${this.get(name) ?? 0} and ${other.get(name) ?? 0}`);
  }
}

/** Every request, charge, refund and message that was begun has been finished, with or without its client. */
export function checkFinished(
  { charges, refunds, requests, messages, deadLetters }: DatabaseState,
  when: string,
  report: Report,
): void {
  for (const { account_id, idempotency_key, completed } of requests) {
    if (!completed) report('nothing unfinished', `${named(account_id, idempotency_key)}: in progress ${when}`);
  }
  for (const { id, status } of [...charges, ...refunds])
    if (status === 'pending') report('nothing unfinished', `${id}: pending ${when}`);
  for (const { id, published } of messages) if (!published) report('nothing unfinished', `${id}: unpublished ${when}`);
  for (const { consumer, message_id } of deadLetters) {
    report('nothing unfinished', `${message_id}: a dead letter of the consumer ${consumer} ${when}`);
  }
}

/** A record is completed exactly if its effect is settled, and a completed record does not change. */
export function checkRecords({ charges, refunds, requests, orders, changes }: DatabaseState, report: Report): void {
  const byId = new Map([...charges, ...refunds].map((row) => [row.id, row]));
  const placed = new Set(orders.map(({ account_id, order_id }) => named(account_id, order_id)));
  for (const { account_id, idempotency_key, request_id, operation, completed, response_status } of requests) {
    const about = named(account_id, idempotency_key);
    if (operation === 'POST /charges' || operation === REFUND) {
      const isRefund = operation === REFUND;
      const status = byId.get(isRefund ? refundIdOf(request_id) : chargeIdOf(request_id))?.status;
      const settled = status === 'succeeded' || status === 'failed';
      // A refused refund leaves no row besides its record.
      const isRefusal = isRefund && status === undefined && response_status === 409;
      if (settled !== completed && !isRefusal) {
        report(
          'record and effect agree',
          `${about}: the record is ${completed ? 'completed' : 'in progress'}, its ${isRefund ? 'refund' : 'charge'} is ${status ?? 'missing'}`,
        );
      }
    } else if (placed.has(about) !== completed) {
      report(
        'record and effect agree',
        `${about}: the record is ${completed ? 'completed, but there is no order' : 'in progress, but there is an order'}`,
      );
    }
  }
  const unfinished = new Set(
    requests
      .filter(({ completed }) => !completed)
      .flatMap(({ request_id }) => [chargeIdOf(request_id), refundIdOf(request_id)]),
  );
  for (const { id, status } of [...charges, ...refunds]) {
    if (status === 'pending' && !unfinished.has(id))
      report('record and effect agree', `${id}: pending, but without a record in progress`);
  }
  for (const { account_id, idempotency_key, change } of changes) {
    report('final is final', `${named(account_id, idempotency_key)}: ${change} of a completed record`);
  }
}

/** The bank has decided each charge and each refund under one key, with the result that it has, and has decided nothing else. */
export function checkBank({ database, journal }: Snapshot, report: Report): void {
  const rows = new Map([...database.charges, ...database.refunds].map((row) => [row.id, row]));
  const keys = new Map<string, Set<string>>();
  for (const { account, key, charge, refund = charge, amount, decision } of journal) {
    keys.set(refund, (keys.get(refund) ?? new Set()).add(`${account}:${key}`));
    const row = rows.get(refund);
    if (row && (row.account_id !== account || row.amount !== amount)) {
      report(
        'accounts do not cross',
        `${refund}: ${amount} of ${account} at the bank, ${row.amount} of ${row.account_id} in the database`,
      );
    }
    if (row?.status !== (decision === 'declined' ? 'failed' : 'succeeded')) {
      report(
        'record and effect agree',
        `${refund}: ${decision} at the bank, ${row?.status ?? 'missing'} in the database`,
      );
    }
  }
  const moved = new Sums();
  for (const { charge, refund = charge, decision } of journal) if (decision !== 'declined') moved.add(refund, 1);
  for (const [decided, times] of moved) if (times > 1) report('one effect', `${decided}: paid ${times} times`);
  for (const [decided, used] of keys) {
    if (used.size > 1) report('one gateway key', `${decided}: ${[...used].join(' and ')}`);
  }
}

/**
 * Charges, balances and captures have the same sums, each less the refunds. Requests write the charges, messages the balances, and the bank the
 * captures.
 */
export function checkBooks({ database, journal }: Snapshot, report: Report): void {
  const [charges, balances, captures] = [new Sums(), new Sums(), new Sums()];
  for (const { account_id, currency, amount, status } of database.charges) {
    if (status === 'succeeded') charges.add(named(account_id, currency), amount);
  }
  for (const { account_id, currency, amount, status } of database.refunds) {
    if (status === 'succeeded') charges.add(named(account_id, currency), -amount);
  }
  for (const { account_id, of: currency, amount } of database.balances)
    balances.add(named(account_id, currency), amount);
  for (const { account, currency, amount, decision } of journal) {
    if (decision !== 'declined') captures.add(named(account, currency), decision === 'captured' ? amount : -amount);
  }
  for (const about of charges.differences(balances))
    report('the books agree', `sums of charges and balance differ for ${about}`);
  for (const about of charges.differences(captures))
    report('the books agree', `sums of charges and captures differ for ${about}`);
}

/** The refunds of each charge are at most as large as the charge. A failed refund has moved no money. */
export function checkRefunds({ database, journal }: Snapshot, report: Report): void {
  const [refunded, paid] = [new Sums(), new Sums()];
  for (const { charge_id, amount, status } of database.refunds)
    if (status !== 'failed') refunded.add(charge_id, amount);
  for (const { charge, amount, decision } of journal) if (decision === 'refunded') paid.add(charge, amount);
  const amounts = new Map(database.charges.map(({ id, amount, status }) => [id, status === 'succeeded' ? amount : 0]));
  for (const [where, sums] of [
    ['', refunded],
    [' at the bank', paid],
  ] as const) {
    for (const [charge, sum] of sums) {
      const amount = amounts.get(charge) ?? 0;
      if (sum > amount) report('refunds within charges', `${charge}: ${sum} of ${amount} refunded${where}`);
    }
  }
}

/** Each order has taken its pieces from stock exactly once. */
export function checkStock({ orders, stock }: DatabaseState, initial: number, report: Report): void {
  const taken = new Sums();
  for (const { account_id, items } of orders) {
    for (const { item_id, quantity } of items) taken.add(named(account_id, item_id), quantity);
  }
  const gone = new Sums();
  for (const { account_id, item_id, stock: left } of stock) gone.add(named(account_id, item_id), initial - left);
  for (const about of taken.differences(gone))
    report('one effect', `pieces ordered and pieces taken differ for ${about}`);
}

/** The service has received the event about each capture of a charge that exists, and no other event. */
export function checkEvents({ database, journal }: Snapshot, report: Report): void {
  const known = new Set(database.charges.map(({ id }) => id));
  const [due, seen] = [new Sums(), new Sums()];
  for (const entry of journal) {
    if (entry.decision === 'captured' && known.has(entry.charge)) due.add(named(entry.account, eventIdOf(entry)), 1);
  }
  for (const { account_id, message_id } of database.events) seen.add(named(account_id, message_id), 1);
  for (const about of due.differences(seen)) report('messages once', `events sent and received differ: ${about}`);
}

/**
 * Each charge and each refund has one message, each message has taken effect once, and each order has the right payments.
 *
 * A message that was released is published in the outbox, and each of its consumers has one row for it in the inbox. A fresh message was deleted
 * once and is in none of these places. Its effects are proven by the payments of the orders, and by the balances in {@link checkBooks}.
 */
export function checkMessages(
  { charges, refunds, orders, messages, taken, processed, payments }: DatabaseState,
  { hasBroker }: Pick<Evidence, 'hasBroker'>,
  report: Report,
): void {
  const [due, seen] = [new Sums(), new Sums()];
  const takenFresh = new Set(
    taken.filter(({ was_fresh }) => was_fresh && !hasBroker).map(({ account_id, id }) => named(account_id, id)),
  );
  const expect = (message: string, consumers: readonly string[]) => {
    for (const place of takenFresh.has(message) ? [TAKEN] : ['outbox', ...consumers]) due.add(`${place} ${message}`, 1);
  };
  const succeeded = charges.filter(({ status }) => status === 'succeeded');
  for (const { account_id, id, order_id } of succeeded)
    expect(named(account_id, `charge.succeeded.${id}`), consumersOf(order_id));
  for (const { account_id, id, status } of refunds)
    if (status === 'succeeded') expect(named(account_id, `refund.succeeded.${id}`), ['balance']);
  for (const { account_id, id } of messages) seen.add(`outbox ${named(account_id, id)}`, 1);
  for (const { account_id, id, was_fresh } of taken)
    seen.add(`${was_fresh ? TAKEN : 'deleted after its release'} ${named(account_id, id)}`, 1);
  for (const { account_id, consumer, message_id } of processed)
    seen.add(`${consumer} ${named(account_id, message_id)}`, 1);
  for (const about of due.differences(seen)) report('messages once', `messages expected and seen differ: ${about}`);
  const [charged, paid] = [new Sums(), new Sums()];
  for (const { account_id, order_id, amount } of succeeded)
    if (order_id !== null) charged.add(named(account_id, order_id), amount);
  for (const { account_id, of: order, amount } of payments) paid.add(named(account_id, order), amount);
  for (const about of charged.differences(paid)) report('messages once', `charges and payments differ for ${about}`);
  for (const { account_id, order_id, amount, status } of orders) {
    const about = named(account_id, order_id);
    const isPaid = (paid.get(about) ?? 0) >= amount;
    if (isPaid !== (status === 'paid'))
      report('messages once', `${about}: ${status}, but ${paid.get(about) ?? 0} of ${amount} are paid`);
  }
}
