import { appendFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { JournalEntry } from './evidence.js';

/** How the bank misbehaves: with `down` it decides nothing. Otherwise it decides, but does not answer, answers too late, or answers with invalid bytes. */
export type BankFault = 'down' | 'lost answer' | 'slow' | 'nonsense';
/** A message to the bank. `undefined` ends the fault. */
export interface BankCommand {
  fault: BankFault | undefined;
}
/** A message from the bank: the port on which it listens, or the fault that it has applied to a request. */
export type BankReport = { port: number } | { landed: BankFault };

/**
 * The bank is a process that no fault stops. It honours its idempotency key: it decides the first request with a key, writes the
 * decision to the journal and answers. All later requests with that key get the same decision. The journal is append-only.
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

/** The bank pays every refund, also one that exceeds its charge, because a bank that refuses it would hide the mistake of the service. */
interface Refund {
  account_id: string;
  refund_id: string;
  charge_id: string;
  amount: number;
  currency: string;
}

const report = (message: BankReport) => void process.send?.(message);

function decide(key: string, request: Capture | Refund): JournalEntry {
  const { account_id: account, charge_id: charge, amount, currency } = request;
  const name = `${account} ${key}`;
  const known = decisions.get(name);
  if (known) return known;
  const asked = { at: Date.now(), account, key, charge, amount, currency };
  const entry: JournalEntry =
    'refund_id' in request
      ? { ...asked, refund: request.refund_id, decision: 'refunded' }
      : { ...asked, decision: request.source === 'tok_chargeDeclined' ? 'declined' : 'captured' };
  appendFileSync(journal, `${JSON.stringify(entry)}\n`);
  decisions.set(name, entry);
  return entry;
}

function answer(response: ServerResponse, { decision }: JournalEntry): void {
  const [status, body] = decision === 'declined' ? [402, { decline_code: 'generic_decline' }] : [200, {}];
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Answers that are not a decision, used in turn. The last one is longer than any decision. */
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
      const entry = decide(String(request.headers['idempotency-key']), body as Capture | Refund);
      if (met === 'nonsense') return answerNonsense(response);
      if (met === 'lost answer') return void response.destroy();
      if (met === 'slow') return void setTimeout(() => answer(response, entry), Number(slowMs));
      answer(response, entry);
    },
    () => response.destroy(),
  );
});
process.on('message', (command: BankCommand) => (fault = command.fault));
process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => report({ port: (server.address() as AddressInfo).port }));
