// A Lambda function with `makeIdempotent` and the cache layer, as the documentation of Powertools shows them, behind the smallest stand-in for API
// Gateway: one HTTP request is one invocation, and an invocation that throws is answered with 502.
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { CachePersistenceLayer } from '@aws-lambda-powertools/idempotency/cache';
import { createClient } from '@redis/client';
import { createCharge, listCharges } from '../charges.js';

const { PORT, REDIS_URL, KEY_TTL_SECONDS, PAYLOAD_VALIDATION } = process.env;
/** The timeout of the function. Lambda tells the function how much of it is left, and Powertools uses the rest as its lease. */
const TIMEOUT_MS = 10_000;

const client = await createClient({ url: REDIS_URL }).connect();

async function handle(event) {
  const { status, body } = await createCharge(JSON.parse(event.body));
  return { statusCode: status, body: JSON.stringify(body) };
}

/** Each invocation has an environment of its own, because Lambda never runs two invocations in one environment at once. */
function invoke(event) {
  const deadline = Date.now() + TIMEOUT_MS;
  const handler = makeIdempotent(handle, {
    persistenceStore: new CachePersistenceLayer({ client }),
    config: new IdempotencyConfig({
      eventKeyJmesPath: 'headers."idempotency-key"',
      ...(PAYLOAD_VALIDATION && { payloadValidationJmesPath: PAYLOAD_VALIDATION }),
      ...(KEY_TTL_SECONDS && { expiresAfterSeconds: Number(KEY_TTL_SECONDS) }),
    }),
  });
  return handler(event, { functionName: 'charges', getRemainingTimeInMillis: () => deadline - Date.now() });
}

const BAD_GATEWAY = { statusCode: 502, body: '{"message": "Internal server error"}' };

createServer(async (request, response) => {
  const { method, url: path, headers } = request;
  const send = ({ statusCode, body }) =>
    response.writeHead(statusCode, { 'Content-Type': 'application/json' }).end(body);
  if (path !== '/charges') return send({ statusCode: 404, body: '{"message": "Not Found"}' });
  if (method === 'GET') return send({ statusCode: 200, body: JSON.stringify(await listCharges()) });
  const event = { httpMethod: method, path, headers, body: await text(request).catch(() => '') };
  send(
    await invoke(event).catch((error) => {
      process.stderr.write(`${error.stack}\n`);
      return BAD_GATEWAY;
    }),
  );
}).listen(Number(PORT), '127.0.0.1');
