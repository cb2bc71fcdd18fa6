import { Agent, type ClientRequest, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { type History, type Operation, type Outcome, parse, type Reply } from './history.js';
import { secretOf } from './replicas.js';

/** Longer than the service may take to wait for another holder of the key and then for the bank. */
const TIMEOUT_MS = 8_000;
const agent = new Agent({ keepAlive: true, maxSockets: 256 });

/** Where a request is sent: the number of the replica or proxy, for the history, and its port for clients. */
export interface Address {
  readonly number: number;
  readonly clientPort: number;
}

export interface AttemptOptions {
  /** After this time the client closes the connection. */
  hangUpAfterMs?: number;
  /** Called if the client hung up before it had an answer. */
  onHungUp?: () => void;
}

/** Sends an operation once, and adds the attempt and its outcome to the history. */
export async function attempt(
  history: History,
  operation: Operation,
  replica: Address,
  options: AttemptOptions = {},
): Promise<Outcome> {
  const number = history.invoke(operation.id, replica.number);
  const outcome = await send(operation, replica.clientPort, options);
  history.add({ attempt: number, ...outcome });
  return outcome;
}

function send(operation: Operation, port: number, { hangUpAfterMs, onHungUp }: AttemptOptions): Promise<Outcome> {
  const { account, key, path, body } = operation;
  return new Promise((resolve) => {
    const headers = {
      authorization: `Bearer ${secretOf(account)}`,
      'content-type': 'application/json',
      ...(key !== undefined && { 'idempotency-key': key }),
    };
    const outgoing: ClientRequest = request({ host: '127.0.0.1', port, method: 'POST', path, headers, agent });
    const limit = setTimeout(() => outgoing.destroy(new Error('no answer in time')), TIMEOUT_MS);
    const hangUp =
      hangUpAfterMs === undefined
        ? undefined
        : setTimeout(() => {
            onHungUp?.();
            outgoing.destroy(new Error('the client hung up'));
          }, hangUpAfterMs);
    const end = (outcome: Outcome) => {
      clearTimeout(limit);
      clearTimeout(hangUp);
      resolve(outcome);
    };
    // If the connection breaks, the service may still have read the request, so the outcome is not known.
    const broken = (error: Error) => end({ type: 'info', reason: error.message });
    outgoing.on('error', broken);
    outgoing.on('response', (incoming) => {
      const { statusCode: status = 0, headers } = incoming;
      const contentType = headers['content-type'] ?? '';
      const replayed = headers['idempotent-replayed'] === 'true';
      // An incomplete reply counts as no reply.
      text(incoming).then((body) => end(outcomeOf({ status, contentType, body, replayed })), broken);
    });
    outgoing.end(JSON.stringify(body));
  });
}

/** Reads the outcome from `retryable` and `outcome` in the answer. Without them the outcome of an error is not known. */
function outcomeOf(reply: Reply): Outcome {
  const { retryable, code = '', outcome } = parse(reply.body);
  if (retryable !== true && reply.status < 500) return { type: 'ok', reply };
  const reason = `${reply.status} ${String(code)}`.trim();
  return { type: outcome === 'not_started' ? 'fail' : 'info', reason };
}
