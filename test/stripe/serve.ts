import { integer, optionsOfProcess, parseOptions } from '../../harness/options.js';
import { FakeStripe } from './fake-stripe.js';

const API_KEY = 'sk_test_fake';

const USAGE = `Usage: npm run stripe:fake [-- options]

Serves a substitute for Stripe on loopback, with the API key ${API_KEY}. It keeps its state in memory.

  --port N              the port, 0 for any free one (default: 12111)
  --key-life-seconds N  the life of an idempotency key (default: 86400)
  --lose-percent N      the share of answers that are lost after the request took effect (default: 0)
`;

function readOptions(args: string[]) {
  const { values } = parseOptions({
    args,
    options: {
      port: { type: 'string', default: '12111' },
      'key-life-seconds': { type: 'string', default: '86400' },
      'lose-percent': { type: 'string', default: '0' },
    },
  });
  return {
    port: integer('--port', values.port, 0, 65_535),
    keyLifeMs: 1_000 * integer('--key-life-seconds', values['key-life-seconds'], 0, 31_536_000),
    losePercent: integer('--lose-percent', values['lose-percent'], 0, 99),
  };
}

const { url } = await FakeStripe.start({ apiKey: API_KEY, ...optionsOfProcess(USAGE, readOptions) });
process.stdout.write(`A substitute for Stripe is served at ${url}, with the API key ${API_KEY}\n`);
