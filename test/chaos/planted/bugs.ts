import type { Invariant } from '../checker/verdict.js';
import type { Habits } from '../clients.js';
import type { FailPoint, Stop, StopCase } from '../fail-points.js';
import type { FaultKind } from '../faults.js';

/** One change of one file of the service. The file contains the text to replace exactly once. */
export interface Patch {
  /** The path from the root of the project. */
  file: string;
  find: string;
  replace: string;
}

/** A bug that other projects have had. It is put into a copy of the service. */
export interface PlantedBug {
  name: string;
  patches: readonly Patch[];
  /** The invariant that the bug breaks. It may break others as well. */
  breaks: Invariant;
  /** The faults that provoke the bug. */
  faults: readonly FaultKind[];
  stops?: readonly StopCase[];
  habits?: Partial<Habits>;
}

const at = (stop: Stop, ...points: FailPoint[]): StopCase[] => points.map((point) => ({ point, stop }));

const STORE = 'src/idempotency/commit/group.store.ts';
const UPKEEP = 'src/idempotency/upkeep/upkeep.store.ts';
const GROUP = 'src/idempotency/commit/group.ts';
const TRANSACTION = 'src/postgres/transaction.ts';
const OUTBOX = 'src/messaging/outbox.ts';
const MESSAGING_SQL = 'src/messaging/messaging.sql.ts';
/** The service refuses to start without the primary key of `processed_requests`, so this patch disables that check. */
const WITHOUT_CONSTRAINT_CHECK: Patch = {
  file: 'src/idempotency/upkeep/wiring.check.ts',
  find: '!constraints.some(({ columns }) => columns.join() === expected.join())',
  replace: 'constraints.length > 10',
};
/**
 * Every message is released, as with a broker, so that it goes through the inbox. A fresh message never meets the inbox, so a bug there would
 * have to wait for a delivery that fails.
 */
const THROUGH_THE_INBOX: Patch = {
  file: 'src/messaging/relay.ts',
  find: 'if (bus.deliverWithin) return',
  replace: 'if (!bus) return',
};
const SCHEMA = 'migrations/1795478400000-idempotency.ts';

const CLOSE = `        return [...sent, complete(sql, store, replies)];`;
const IMPORT = `import type { SqlClient, Transaction } from '../../postgres/transaction.js';`;
const IMPORT_IN_TRANSACTION = `import { inTransaction, type SqlClient, type Transaction } from '../../postgres/transaction.js';`;
/** The place of the rule that decides who takes a key. Patches change the rule for groups only. */
const TAKE = '${TAKE_IF_FREE}';

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'no-unique-constraint',
    breaks: 'one effect',
    faults: ['storm', 'kill'],
    habits: { twins: 0.6 },
    patches: [
      WITHOUT_CONSTRAINT_CHECK,
      {
        file: SCHEMA,
        find: '        CONSTRAINT processed_requests_pkey PRIMARY KEY (account_id, idempotency_key),\n',
        replace: '',
      },
      {
        file: STORE,
        find: 'CASE WHEN claimable THEN pg_try_advisory_xact_lock(hashtextextended(idempotency_key, hashtextextended(account_id, 0)))\n               ELSE false END\n    ${TAKE_IF_FREE}',
        replace: 'claimable',
      },
    ],
  },
  {
    name: 'reply-stored-after-the-commit',
    breaks: 'record and effect agree',
    faults: ['fail point'],
    stops: at('kill', 'complete.before'),
    // Clients do not retry, because a retry would record the reply.
    habits: { orders: 1, pays: 0, givesUp: 1 },
    patches: [
      { file: GROUP, find: IMPORT, replace: IMPORT_IN_TRANSACTION },
      { file: GROUP, find: CLOSE, replace: '        return sent;' },
      {
        file: GROUP,
        find: '  return units.map((unit) => {\n    const claim = claims.get(unit);',
        replace: `  await inTransaction(dataSource, ({ sql }) => complete(sql, store, replies));
  return units.map((unit) => {
    const claim = claims.get(unit);`,
      },
    ],
  },
  {
    name: 'claim-in-another-transaction',
    breaks: 'nothing unfinished',
    faults: ['fail point'],
    stops: at('kill', 'claim.committed'),
    // Clients do not retry, because a retry would finish the claimed request.
    habits: { givesUp: 1 },
    patches: [
      { file: GROUP, find: IMPORT, replace: IMPORT_IN_TRANSACTION },
      {
        file: GROUP,
        find: '  const { claims, results } = await inPipelinedTransaction(',
        replace: `  const taken = await inTransaction(dataSource, ({ sql }) => claimKeys(sql, store, units));
  const { claims, results } = await inPipelinedTransaction(`,
      },
      {
        file: GROUP,
        find: '      open: (sql) => claimKeys(sql, store, units),',
        replace: '      open: () => Promise.resolve(taken),',
      },
    ],
  },
  {
    name: 'claim-not-bound-to-its-transaction',
    breaks: 'nothing unfinished',
    faults: ['begin cancelled'],
    // Each order is sent once, commits alone and is given up, so only recovery could finish its claim. A patch disables recovery.
    habits: { orders: 1, pays: 0, givesUp: 1 },
    patches: [
      { file: STORE, find: '    WHERE ${IS_IN_TRANSACTION}\n', replace: '' },
      {
        file: 'src/config.ts',
        find: "number('requests', 1, 1_000).int().default(64)",
        replace: 'z.coerce.number().default(2)',
      },
      {
        file: 'src/idempotency/upkeep/recovery.ts',
        find: '  protected async run(): Promise<number> {',
        replace: '  protected async run(): Promise<number> {\n    if (!this.stopping) return 0;',
      },
    ],
  },
  {
    name: 'open-transaction-in-the-pool',
    breaks: 'as documented',
    faults: ['commit cancelled'],
    patches: [
      {
        file: TRANSACTION,
        find: "    else await sql.query('ROLLBACK').catch(() => cut(sql));",
        replace: "    else if (!(error instanceof CommitUnknown)) await sql.query('ROLLBACK').catch(() => cut(sql));",
      },
    ],
  },
  {
    name: 'connection-without-a-listener',
    breaks: 'as documented',
    faults: ['connection ended at birth'],
    patches: [{ file: 'src/database/data-source.ts', find: "    this.on('error', () => undefined);\n", replace: '' }],
  },
  {
    name: 'new-gateway-key-per-attempt',
    breaks: 'one gateway key',
    faults: ['gateway lost answer', 'gateway slow'],
    patches: [
      {
        file: 'src/charges/gateway/http-gateway.ts',
        find: "'idempotency-key': id }",
        replace: "'idempotency-key': crypto.randomUUID() }",
      },
    ],
  },
  {
    name: "asks-again-after-the-key's-life",
    breaks: 'one effect',
    faults: ['gateway forgets'],
    patches: [
      {
        file: 'src/charges/gateway/payment.gateway.ts',
        find: 'const isKeyAlive = performance.now() + timeoutMs < claimedAt + chargeKeyLifeMs;',
        replace: 'const isKeyAlive = claimedAt + timeoutMs + chargeKeyLifeMs > 0;',
      },
    ],
  },
  {
    name: 'status-of-the-bank-trusted-alone',
    breaks: 'record and effect agree',
    faults: ['gateway nonsense'],
    // Only charges, because the bank declines some of them.
    habits: { orders: 0 },
    patches: [
      {
        file: 'src/charges/gateway/http-gateway.ts',
        find: 'status === 200 && succeeded.safeParse(body).success',
        replace: 'status === 200',
      },
    ],
  },
  {
    name: 'timeout-stored-as-final',
    breaks: 'record and effect agree',
    faults: ['gateway lost answer', 'gateway slow'],
    patches: [
      {
        file: 'src/charges/charges.service.ts',
        find: 'await this.gateway.authorize(charge, startedAt - charge.age_ms);',
        replace: `await this.gateway
      .authorize(charge, startedAt - charge.age_ms)
      .catch(() => ({ status: 'failed' as const, declineCode: 'gateway_timeout' }));`,
      },
    ],
  },
  {
    name: 'refund-without-the-lock-on-the-charge',
    breaks: 'refunds within charges',
    faults: ['kill'],
    // Only charges, each with refunds that are sent to several replicas at once.
    habits: { orders: 0, refunds: 1, givesUp: 0 },
    patches: [{ file: 'src/charges/refunds/refundable.ts', find: '\n  FOR UPDATE`', replace: '`' }],
  },
  {
    name: '23505-swallowed',
    breaks: 'messages once',
    faults: ['fail point'],
    stops: at('kill', 'relay.delivered', 'consumer.committed'),
    patches: [
      THROUGH_THE_INBOX,
      // Only the inbox of the bus. The inbox of the webhooks uses the same statement, and would refuse every event that is sent again.
      {
        file: 'src/messaging/process-batch.ts',
        find: `await tx.sql.query({ name: 'messaging_receive', text: RECEIVE, values });`,
        replace: `await tx.sql
        .query({ name: 'messaging_receive', text: RECEIVE.replace(/ON CONFLICT .* DO NOTHING/, ''), values })
        .catch((error: { code?: string }) => {
          if (error.code === '23505') return { rows: [] };
          throw error;
        });`,
      },
      // The transaction is aborted, so this statement would fail, and the batch would be split.
      {
        file: 'src/messaging/process-batch.ts',
        find: 'if (newMessages.length < concerned.length) await tx.sql.query(`SELECT ${AWAIT_STANDBYS}`);',
        replace: '',
      },
      { file: TRANSACTION, find: "command !== 'COMMIT'", replace: 'false as boolean' },
      // A slower relay, so that a redelivered message is in one batch with a new message. The bug loses the new one.
      {
        file: 'src/messaging/relay.ts',
        find: 'setInterval(() => void this.tick(), this.options.relayIntervalMs)',
        replace: 'setInterval(() => void this.tick(), 10 * this.options.relayIntervalMs)',
      },
    ],
  },
  {
    name: 'body-in-jsonb',
    breaks: 'same reply',
    faults: ['kill'],
    habits: { again: 0.6 },
    patches: [
      { file: SCHEMA, find: 'response_body    text', replace: 'response_body    jsonb' },
      { file: STORE, find: '$5::jsonb[], $6::text[])', replace: '$5::jsonb[], $6::jsonb[])' },
      { file: STORE, find: 'octet_length(held.response_body) +', replace: 'octet_length(held.response_body::text) +' },
      {
        file: STORE,
        find: 'new RecordedReply(status, response_headers, response_body, expiry)',
        replace: 'new RecordedReply(status, response_headers, JSON.stringify(response_body), expiry)',
      },
    ],
  },
  {
    name: 'account-left-out-of-the-key',
    breaks: 'accounts do not cross',
    faults: ['kill'],
    patches: [
      WITHOUT_CONSTRAINT_CHECK,
      { file: SCHEMA, find: 'PRIMARY KEY (account_id, idempotency_key)', replace: 'PRIMARY KEY (idempotency_key)' },
      {
        file: STORE,
        find: '      WHERE row.account_id = wanted.account_id AND row.idempotency_key = wanted.idempotency_key',
        replace: '      WHERE row.idempotency_key = wanted.idempotency_key',
      },
      {
        file: STORE,
        find: TAKE,
        replace: "${TAKE_IF_FREE.replace('(account_id, idempotency_key)', '(idempotency_key)')}",
      },
      {
        file: 'src/idempotency/request/request-identity.ts',
        find: 'this.name = JSON.stringify([accountId, key]);',
        replace: 'this.name = key;',
      },
    ],
  },
  {
    name: 'relay-by-last-id',
    breaks: 'messages once',
    // A charge that is settled late has an id below the last id that the relay has seen.
    faults: ['gateway slow'],
    patches: [
      {
        file: MESSAGING_SQL,
        find: '(${FRESH})\n  DELETE',
        replace: "(${FRESH.replace(/ORDER BY .* LIMIT/, 'AND id > $2 ORDER BY id LIMIT')})\n  DELETE",
      },
      {
        file: OUTBOX,
        find: 'text: TAKE_FRESH, values: [limit] }',
        replace: 'text: TAKE_FRESH, values: [limit, this.last] }',
      },
      {
        file: OUTBOX,
        find: '        if (messages.length === 0) return { messages, deliveries: [] };',
        replace: `        if (messages.length === 0) return { messages, deliveries: [] };
        for (const { id } of messages) if (id > this.last) this.last = id;`,
      },
      { file: OUTBOX, find: 'export class Outbox {', replace: "export class Outbox {\n  private last = '';\n" },
    ],
  },
  {
    name: 'acknowledged-before-the-commit',
    breaks: 'messages once',
    faults: ['fail point'],
    stops: at('kill', 'relay.committed'),
    patches: [
      THROUGH_THE_INBOX,
      {
        file: OUTBOX,
        find: '        const published = new Set(await publish(messages));',
        replace: '        const published = new Set(messages);\n        later = messages;',
      },
      {
        file: OUTBOX,
        find: '    const batch = await inTransaction(',
        replace: '    let later: readonly Message[] = [];\n    const batch = await inTransaction(',
      },
      {
        file: OUTBOX,
        find: "    if (batch.published > 0) this.events.next({ type: 'published', messages: batch.published });",
        replace: '    await publish(later);',
      },
    ],
  },
  {
    name: 'deleted-in-a-transaction-of-its-own',
    breaks: 'the books agree',
    faults: ['fail point'],
    stops: at('kill', 'fresh.committed'),
    patches: [
      {
        file: OUTBOX,
        find: 'return { messages, deliveries: await deliver(manager, messages) };',
        replace: 'return { messages };',
      },
      { file: OUTBOX, find: 'async ({ sql, manager }) => {', replace: 'async ({ sql }) => {' },
      { file: OUTBOX, find: 'const { messages, deliveries } = await', replace: 'const { messages } = await' },
      {
        file: OUTBOX,
        find: "    if (messages.length > 0) this.events.next({ type: 'published', messages: messages.length });",
        replace: `    const deliveries =
      messages.length === 0 ? [] : await inTransaction(this.dataSource, ({ manager }) => deliver(manager, messages));`,
      },
    ],
  },
  {
    name: 'published-while-it-is-fresh',
    breaks: 'messages once',
    faults: ['fail point'],
    stops: at('kill', 'consumer.committed', 'relay.delivered'),
    patches: [
      {
        file: MESSAGING_SQL,
        find: 'WHERE published_at IS NULL AND available_at <= statement_timestamp()',
        replace: 'WHERE published_at IS NULL AND (available_at IS NULL OR available_at <= statement_timestamp())',
      },
      {
        file: 'src/messaging/relay.ts',
        find: '    await this.outbox.releaseFresh(BATCH_MESSAGES);\n',
        replace: '',
      },
      // Every other delivery of fresh messages fails.
      {
        file: OUTBOX,
        find: '        // A row that is locked for long',
        replace: `        if (Math.random() < 0.5) throw new Error('a consumer failed');
        // A row that is locked for long`,
      },
    ],
  },
  {
    name: 'sweep-takes-unfinished-rows',
    breaks: 'one effect',
    faults: ['gateway lost answer', 'kill'],
    patches: [
      {
        file: UPKEEP,
        find: `    WHERE completed_at IS NOT NULL AND created_at <= statement_timestamp() - make_interval(secs => $1)
    ORDER BY created_at`,
        replace: `    WHERE created_at <= statement_timestamp() - make_interval(secs => $1)
       OR locked_until <= statement_timestamp()
    ORDER BY created_at`,
      },
      {
        file: UPKEEP,
        find: '    AND completed_at IS NOT NULL AND created_at <= clock_timestamp() - make_interval(secs => $1)',
        replace: '',
      },
    ],
  },
  {
    name: 'recovery-forgets-charges-that-have-an-intent',
    breaks: 'one effect',
    faults: ['gateway lost answer', 'kill'],
    patches: [
      {
        file: 'src/charges/charges.service.ts',
        find: 'return charge ? this.authorizeAndSettle(request, charge, startedAt) : INTENT_MISSING;',
        replace: 'return INTENT_MISSING;',
      },
    ],
  },
  {
    name: 'completion-without-the-lock-token',
    breaks: 'final is final',
    faults: ['fail point', 'freeze'],
    stops: at('freeze', 'gateway.answered', 'gateway.sent', 'complete.before'),
    patches: [
      {
        file: STORE,
        find: '          AND row.lock_token = done.lock_token AND row.response_status IS NULL',
        replace: '          AND done.lock_token IS NOT NULL',
      },
    ],
  },
  {
    name: 'expiry-by-a-skewed-clock',
    breaks: 'one effect',
    faults: ['kill'],
    habits: { again: 0.6 },
    patches: [
      {
        file: STORE,
        find: '                ELSE held.created_at <= clock_timestamp() - make_interval(secs => $8) END AS claimable',
        replace:
          '                ELSE held.created_at <= $10::timestamptz - make_interval(secs => $8) END AS claimable',
      },
      {
        file: STORE,
        find: TAKE,
        replace: "${TAKE_IF_FREE.replace('clock_timestamp() - make_interval', '$10::timestamptz - make_interval')}",
      },
      {
        file: STORE,
        find: '      Math.floor(REPLIES_BYTES / attempts.length),\n    ];',
        replace: `      Math.floor(REPLIES_BYTES / attempts.length),
      // The clock of one of the replicas is a day and an hour ahead.
      new Date(Date.now() + (process.env['CHAOS_REPLICA'] === '2' ? 90_000_000 : 0)),
    ];`,
      },
    ],
  },
  {
    name: 'lock-in-memory',
    breaks: 'one effect',
    faults: ['storm', 'kill'],
    habits: { twins: 0.6 },
    // A lock in memory does not see holders in other processes, so an unfinished request is executed again.
    patches: [
      {
        file: STORE,
        find: `           CASE WHEN held.account_id IS NULL THEN true
                WHEN held.completed_at IS NULL THEN held.fingerprint = wanted.fingerprint
                  AND (held.locked_until <= clock_timestamp() OR held.lock_token = wanted.lock_token)`,
        replace: `           CASE WHEN held.account_id IS NULL THEN true
                WHEN held.completed_at IS NULL THEN true`,
      },
      {
        file: STORE,
        find: TAKE,
        replace:
          "${TAKE_IF_FREE.replace(/request_id = CASE .*? END,/, 'request_id = excluded.request_id,').replace(/THEN held.fingerprint = [^)]*\\)[^)]*\\)/, 'THEN true')}",
      },
    ],
  },
  {
    name: 'lost-commit-taken-for-a-failure',
    breaks: 'a failure has no effect',
    faults: ['fail point'],
    stops: at('lose answer', 'claim.committed'),
    // Clients do not retry, so the only attempt of an operation is the one that was reported as failed.
    habits: { givesUp: 1 },
    patches: [
      {
        file: 'src/idempotency/request/keyed-request.ts',
        find: 'if (!(error instanceof CommitUnknown) || attempt === ATTEMPTS_IN_DOUBT) throw error;',
        replace: 'if (attempt > 0) throw error;',
      },
      {
        file: 'src/idempotency/request/keyed-request.ts',
        find: "this.requestId || this.isInDoubt ? 'unknown' : 'not_started'",
        replace: "'not_started'",
      },
    ],
  },
  {
    name: 'replay-before-it-is-replicated',
    breaks: 'same reply',
    faults: ['primary restarted while cut off'],
    // Only orders, because the bank remembers a charge that the database has lost.
    habits: { orders: 1, pays: 0, again: 0.6 },
    patches: [
      {
        file: 'src/postgres/replication.ts',
        find: "THEN pg_logical_emit_message(true, 'idempotency', pg_current_xact_id()::text) END",
        replace: 'THEN NULL END',
      },
    ],
  },
  {
    name: 'cancelled-wait-taken-for-a-commit',
    breaks: 'same reply',
    // A wait has to be cancelled while no standby can confirm a commit.
    faults: ['statements cancelled', 'primary killed while cut off'],
    habits: { orders: 1, pays: 0, again: 0.6 },
    patches: [
      {
        file: 'src/postgres/transaction.ts',
        find: 'isReplicated &&= !isUnreplicated(notice)',
        replace: 'isReplicated &&= !isUnreplicated(notice) || true',
      },
    ],
  },
];
