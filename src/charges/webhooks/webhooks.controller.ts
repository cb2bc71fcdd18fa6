import { Controller, Headers, HttpCode, Inject, Post, Req } from '@nestjs/common';
import { ApiBody, ApiHeader, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { bodyBytesOf } from '../../accounts/body-admission.js';
import { noTurn, WITHIN_MS } from '../../accounts/turns.interceptor.js';
import { Turns } from '../../accounts/turns.js';
import { CONFIG, type Config } from '../../config.js';
import { ApiProblems } from '../../http/openapi.decorators.js';
import { Public } from '../../http/public.decorator.js';
import { TakesRawBody } from '../../http/raw-body.decorator.js';
import { EventReceipt } from './dto/event-receipt.resource.js';
import type { Outcome } from './outcome.js';
import { readEvent, type StripeEvent } from './stripe-event.js';
import { StripeSignatures } from './stripe-signatures.js';
import { WebhookEvents } from './webhook-events.js';
import { WebhooksService } from './webhooks.service.js';

/** The name under which the events take turns that name no account. No account has a name with a space. */
const NO_ACCOUNT = 'no account';

@ApiTags('webhooks')
@Public()
@Controller('webhooks/stripe')
export class WebhooksController {
  /**
   * Events have turns of their own, at most a quarter of the pool, because an event may wait for Stripe, and requests of accounts must not wait
   * behind it. The accounts of the events are served in turn.
   */
  private readonly turns: Turns;

  constructor(
    private readonly signatures: StripeSignatures,
    private readonly webhooks: WebhooksService,
    private readonly events: WebhookEvents,
    @Inject(CONFIG) { DATABASE_POOL_SIZE: connections }: Config,
  ) {
    this.turns = new Turns(Math.max(1, Math.floor(connections / 4)), WITHIN_MS);
  }

  @Post()
  @HttpCode(200)
  @TakesRawBody()
  @ApiHeader({ name: 'Stripe-Signature', required: true, description: 'The time and the signature of the body' })
  @ApiBody({ description: 'A snapshot event of Stripe', schema: { type: 'object' } })
  @ApiProblems(
    'signature_invalid',
    'idempotency_key_in_progress',
    'body_too_large',
    'unsupported_media_type',
    'overloaded',
    'database_unavailable',
    'gateway_unavailable',
    'gateway_timeout',
    'internal_error',
  )
  @ApiOperation({
    summary: 'Receive an event of Stripe, once',
    description:
      'Only for Stripe. Idempotent by the id of the event. The signature authenticates the request, and no API key is needed. Stripe sends an event again until it is answered with 200.',
  })
  @ApiOkResponse({
    type: EventReceipt,
    description: 'The event is processed or kept. A duplicate gets the same answer',
  })
  async receive(@Req() request: FastifyRequest, @Headers('stripe-signature') signature = ''): Promise<EventReceipt> {
    const event = readEvent(this.signatures.open(request.body as Buffer, signature));
    const outcome = event ? await this.inTurn(event, bodyBytesOf(request)) : 'ignored';
    // The inbox has counted a contradiction before its commit.
    if (outcome !== 'contradicted') this.events.next(outcome);
    return { received: true };
  }

  private async inTurn(event: StripeEvent, bytes: number): Promise<Outcome> {
    const end = await this.turns.wait(event.charge?.account_id ?? NO_ACCOUNT, bytes).catch(noTurn);
    try {
      return await this.webhooks.receive(event);
    } finally {
      end();
    }
  }
}
