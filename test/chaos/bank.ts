import { appendFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { JournalEntry } from './evidence.js';

/**
 * How the bank misbehaves: with `down` it decides nothing. Otherwise it decides, but does not answer, answers too late, or answers with invalid
 * bytes. With `forgets` it decides and does not answer until it has forgotten the key.
 */
export type BankFault = 'down' | 'lost answer' | 'slow' | 'nonsense' | 'forgets';
/** A message to the bank. `undefined` ends the fault. */
export interface BankCommand {
  fault: BankFault | undefined;
}
/** A message from the bank: the port on which it listens, the fault that it has applied to a request, or a new decision. */
export type BankReport = { port: number } | { landed: BankFault } | { decided: JournalEntry; eventAfterMs: number };

/**
 * The bank is a process that no fault stops. It honours its idempotency key: it decides the first request with a key, writes the
 * decision to the journal and answers. Later requests with that key get the same decision until the bank forgets the key. The journal is
 * append-only, and the bank answers from it if it is asked about a charge or a refund.
 */
const [, , journal = '', slowMs = '', keyLifeMs = ''] = process.argv;
/** The decisions by their keys, which the bank forgets. */
const keys = new Map<string, JournalEntry>();
/** The last decision for each charge and each refund, by its id, which the bank never forgets. */
const decisions = new Map<string, JournalEntry>();
/** The charges and refunds that get no answer until their key is forgotten. */
const silent = new Set<string>();
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

const JSON_TYPE = { 'content-type': 'application/json' };

const report = (message: BankReport) => void process.send?.(message);

function decide(key: string, request: Capture | Refund): JournalEntry {
  const { account_id: account, charge_id: charge, amount, currency } = request;
  const name = `${account} ${key}`;
  const known = keys.get(name);
  if (known && isAlive(known)) return known;
  const asked = { at: Date.now(), account, key, charge, amount, currency };
  const entry: JournalEntry =
    'refund_id' in request
      ? { ...asked, refund: request.refund_id, decision: 'refunded' }
      : { ...asked, decision: request.source === 'tok_chargeDeclined' ? 'declined' : 'captured' };
  appendFileSync(journal, `${JSON.stringify(entry)}\n`);
  keys.set(name, entry);
  decisions.set(subjectOf(entry), entry);
  // The event of a charge about which the bank is silent comes only after the key is forgotten, so that the service has to find the decision by itself.
  report({ decided: entry, eventAfterMs: fault === 'forgets' ? 2 * Number(keyLifeMs) : 0 });
  return entry;
}

/** The id of the charge or of the refund that the bank has decided. */
const subjectOf = ({ charge, refund = charge }: JournalEntry) => refund;

/** The id of the charge or of the refund that a request looks up. */
const lookedUp = ({ url = '' }: IncomingMessage) => url.split('/').at(-1) ?? '';

const isAlive = ({ at }: JournalEntry) => Date.now() < at + Number(keyLifeMs);

/** The decision for a request: a new one, the one that the key stands for, or the one that is looked up. `undefined` if the bank has decided nothing. */
async function decisionFor(request: IncomingMessage): Promise<JournalEntry | undefined> {
  if (request.method === 'GET') return decisions.get(lookedUp(request));
  return decide(String(request.headers['idempotency-key']), (await json(request)) as Capture | Refund);
}

/** Whether the bank stays silent about a charge or a refund. Reports the fault when the first request meets a key that is forgotten. */
function isSilent(entry: JournalEntry): boolean {
  const subject = subjectOf(entry);
  if (!silent.has(subject) || isAlive(entry)) return silent.has(subject);
  silent.delete(subject);
  report({ landed: 'forgets' });
  return false;
}

function answer(response: ServerResponse, { decision }: JournalEntry): void {
  const [status, body] = decision === 'declined' ? [402, { decline_code: 'generic_decline' }] : [200, {}];
  response.writeHead(status, JSON_TYPE).end(JSON.stringify(body));
}

function answerUnknown({ url }: IncomingMessage, response: ServerResponse): void {
  const code = url?.startsWith('/refunds/') ? 'refund_unknown' : 'charge_unknown';
  response.writeHead(404, JSON_TYPE).end(JSON.stringify({ code }));
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
  response.writeHead(status, JSON_TYPE).end(body);
}

const server = createServer((request, response) => {
  const met = fault;
  if (met && met !== 'forgets') report({ landed: met });
  if (met === 'down') return void response.writeHead(503).end();
  // Before the decision, because a new decision under a forgotten key would end the silence unseen.
  const known = decisions.get(String(request.headers['idempotency-key'] ?? lookedUp(request)));
  if (known && isSilent(known)) return void response.destroy();
  decisionFor(request).then(
    (entry) => {
      if (!entry) return answerUnknown(request, response);
      if (met === 'forgets') silent.add(subjectOf(entry));
      if (met === 'forgets') return void response.destroy();
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
