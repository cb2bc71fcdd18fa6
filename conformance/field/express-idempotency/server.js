// The server of the README of express-idempotency, with the Redis adapter as its own README shows it.
import express from 'express';
import idempotency from 'express-idempotency';
import redisAdapter from 'express-idempotency-redis-adapter';
import { createCharge, listCharges } from '../charges.js';

const { PORT, REDIS_URL, KEY_TTL_SECONDS } = process.env;

const adapter = new redisAdapter.default({
  connectionConfig: { url: REDIS_URL },
  ...(KEY_TTL_SECONDS && { ttl: Number(KEY_TTL_SECONDS) }),
});
await adapter.connect();

const app = express();
app.use(express.json());
app.use(idempotency.idempotency({ dataAdapter: adapter }));

app.post('/charges', async (request, response, next) => {
  if (idempotency.getSharedIdempotencyService().isHit(request)) return;
  const { status, body } = await createCharge(request.body).catch(next);
  response.status(status).send(body);
});
app.get('/charges', async (request, response) => response.send(await listCharges()));

app.listen(Number(PORT), '127.0.0.1');
