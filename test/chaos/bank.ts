import { appendFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { JournalEntry } from './evidence.js';

/** How the bank may misbehave: not decide at all; decide, and not say so; decide, and say so too late, or not in its own words. */
export type BankFault = 'down' | 'lost answer' | 'slow' | 'nonsense';
/** What the bank is told. */
export interface BankOrder {
  fault: BankFault | undefined;
}
/** What it says: where it listens, and each time that a fault has met somebody. */
export type BankReport = { port: number } | { landed: BankFault };

/**
 * The bank, a process that no fault ever stops. It honours its idempotency key: the first request with a key is decided and
 * written to the journal, then answered; any other with that key gets the same decision. The journal is only ever appended to.
 */
const [, , journal = '', slowMs = ''] = process.argv;
const decisions = new Map<string, JournalEntry>();
let fault: BankFault | undefined;

interface Capture {
  account_id: string;
  charge_id: string;
  amount: number;
  currency: string;
  source: string;
}

const report = (message: BankReport) => void process.send?.(message);

function decide(key: string, { account_id, charge_id, amount, currency, source }: Capture): JournalEntry {
  const name = `${account_id} ${key}`;
  const known = decisions.get(name);
  if (known) return known;
  const decision = source === 'tok_chargeDeclined' ? 'declined' : 'captured';
  const entry = { at: Date.now(), account: account_id, key, charge: charge_id, amount, currency, decision } as const;
  appendFileSync(journal, `${JSON.stringify(entry)}\n`);
  decisions.set(name, entry);
  return entry;
}

function answer(response: ServerResponse, { decision }: JournalEntry): void {
  const [status, body] = decision === 'captured' ? [200, {}] : [402, { decline_code: 'generic_decline' }];
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Answers that decide nothing, in turn. The last is longer than any decision. */
const NONSENSE: readonly (readonly [status: number, body: string])[] = [
  [200, 'null'],
  [402, '{"decline_code": "\\u0000"}'],
  [402, '{"decline_code": "\\ud800"}'],
  [200, ''],
  [402, `{"decline_code": "${'x'.repeat(100_000)}"}`],
];
let nonsenseAnswered = 0;

function answerNonsense(response: ServerResponse): void {
  const [status, body] = NONSENSE[nonsenseAnswered++ % NONSENSE.length] ?? [500, ''];
  response.writeHead(status, { 'content-type': 'application/json' }).end(body);
}

const server = createServer((request, response) => {
  const met = fault;
  json(request).then(
    (body) => {
      if (met) report({ landed: met });
      if (met === 'down') return void response.writeHead(503).end();
      const entry = decide(String(request.headers['idempotency-key']), body as Capture);
      if (met === 'nonsense') return answerNonsense(response);
      if (met === 'lost answer') return void response.destroy();
      if (met === 'slow') return void setTimeout(() => answer(response, entry), Number(slowMs));
      answer(response, entry);
    },
    () => response.destroy(),
  );
});
process.on('message', (order: BankOrder) => (fault = order.fault));
process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => report({ port: (server.address() as AddressInfo).port }));
