import { strict as assert } from 'node:assert';
import type { Stripe } from 'stripe';
import { Program, runTool } from '../../harness/processes.js';
import { type Case, runCases } from '../../harness/suite.js';
import type { Charge } from '../../src/charges/charge.entity.js';
import { CARD_TOKENS } from '../../src/charges/gateway/card-tokens.js';
import { createStripe } from '../../src/charges/gateway/stripe/stripe.client.js';
import { type PaymentIntent, StripePaymentIntents } from '../../src/charges/gateway/stripe/stripe.payment-intents.js';
import { surviveWithoutKeys } from './crashes.js';

const TIMEOUT_MS = 30_000;

const charge = { account_id: 'acct_demo', id: 'ch_019ab9f2c0de7a3c8f21d5b6e7a8c9d0', amount: 1999, currency: 'eur' };

/**
 * The requests of the service, as the service sends them. stripe-mock has no state: it checks the shape of a request against Stripe's OpenAPI
 * document, and answers with a fixed object. So a PaymentIntent of stripe-mock never succeeds, and its idempotency keys have no effect.
 */
function casesOf(stripe: Stripe): Case[] {
  const intents = new StripePaymentIntents(stripe, (fault, error) => {
    throw new Error(`stripe-mock refuses the request: ${fault}`, { cause: error });
  });
  const create = async (source: string) => {
    const payment = await intents.create({ ...charge, source } as Charge);
    assert.equal(payment.kind, 'intent');
    return payment.kind === 'intent' ? payment.id : '';
  };
  const accepted = (request: (id: string) => Promise<PaymentIntent>) => async () => {
    const { id, status } = await request(await create('tok_visa'));
    return `${id} is ${status}`;
  };
  return [
    {
      name: 'accepts the request to create a PaymentIntent for every token',
      run: async () => {
        for (const token of CARD_TOKENS) await create(token);
        return `${CARD_TOKENS.length} tokens`;
      },
    },
    { name: 'accepts the request to confirm an intent', run: accepted((id) => intents.confirm(id)) },
    { name: 'accepts the request to cancel an intent', run: accepted((id) => intents.cancel(id)) },
    { name: 'accepts the request to retrieve an intent', run: accepted((id) => intents.retrieve(id)) },
    {
      // Without this case, a check that accepts everything would look like a success.
      name: 'is refused if a parameter does not exist',
      run: async () => {
        const parameters = { amount: 1999, currency: 'eur', colour: 'red' } as Stripe.PaymentIntentCreateParams;
        const refusal = await stripe.paymentIntents.create(parameters).catch((error: unknown) => error as Error);
        assert.ok(refusal instanceof Error, 'stripe-mock accepts anything');
        return refusal.message.split('\n')[0] ?? '';
      },
    },
    {
      name: 'takes money once for each charge if processes are killed, answers are lost and Stripe forgets every key',
      run: surviveWithoutKeys,
    },
  ];
}

async function main(): Promise<number> {
  const [, , path = ''] = process.argv;
  const mock = Program.run(path, { name: 'stripe-mock', args: ['-http-addr', '127.0.0.1:0'] });
  const [, address = ''] = await mock.said(/Listening for HTTP at address: (\S+)/);
  const settings = {
    STRIPE_API_KEY: 'sk_test_fake',
    STRIPE_API_BASE: `http://${address}`,
    GATEWAY_TIMEOUT_MS: TIMEOUT_MS,
  };
  return runCases(casesOf(await createStripe(settings)));
}

await runTool(main);
