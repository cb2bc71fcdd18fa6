import { Charge } from '../../src/charges/charge.entity.js';
import { type NewCharge, pending, settled, type Settlement, toReply } from '../../src/charges/charges.phases.js';
import type { Phase, Reply } from '../../src/idempotency/index.js';
import { appendToOutbox } from '../../src/messaging/index.js';

/** `openCharge` as a function with TypeORM. */
export const openChargePlainly: Phase<NewCharge, Charge> = async (tx, items) => {
  const inserted = await tx
    .createQueryBuilder()
    .insert()
    .into(Charge)
    .values(items.map((item) => ({ ...pending(item), created_at: () => 'clock_timestamp()' })))
    .orUpdate(['status'], ['account_id', 'id']) // a repetition finds the charge that is open already
    .returning(['id', 'created_at'])
    .updateEntity(false)
    .execute();
  const opened = inserted.raw as Pick<Charge, 'id' | 'created_at'>[];
  const times = new Map(opened.map(({ id, created_at }) => [id, created_at]));
  return items.map(pending).map((charge) => ({ ...charge, created_at: times.get(charge.id) as Date }));
};

/** `settleCharge` as a function with TypeORM. */
export const settleChargePlainly: Phase<Settlement, Reply> = async (tx, items) => {
  const charges = items.map(settled);
  const changed: Charge[] = [];
  for (const charge of charges) {
    const { account_id, id, status, decline_code } = charge;
    const change = { status, decline_code, settled_at: () => 'clock_timestamp()' };
    // A repetition changes nothing, so it appends no message.
    const { affected } = await tx.update(Charge, { account_id, id, status: 'pending' }, change);
    if (affected) changed.push(charge);
  }
  const messages = changed
    .filter(({ status }) => status === 'succeeded')
    .map(({ account_id, id: subject, amount, currency, order_id }) => {
      return { account_id, subject, data: { charge_id: subject, amount, currency, order_id } };
    });
  await tx.query(APPEND, [JSON.stringify(messages)]);
  return charges.map(toReply);
};

const APPEND = `
  WITH messages AS (
    SELECT account_id, 'charge.succeeded' AS type, subject, data
    FROM jsonb_to_recordset($1::jsonb) AS m (account_id text, subject text, data jsonb)
  )
  ${appendToOutbox('messages')}`;
