import type { Stripe } from 'stripe';
import { type Config, ConfigError } from '../../../config.js';

export type StripeSettings = Pick<Config, 'STRIPE_API_KEY' | 'STRIPE_API_BASE' | 'GATEWAY_TIMEOUT_MS'>;

/**
 * Creates the client of Stripe. The SDK is loaded only here, because it is an optional dependency of 23 MB.
 *
 * @throws {ConfigError} if the SDK is not installed
 */
export async function createStripe(settings: StripeSettings): Promise<Stripe> {
  const { Stripe } = await import('stripe').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new ConfigError(
      'STRIPE_API_KEY: expected the npm package stripe, which is an optional dependency; npm ci --include=optional installs it',
    );
  });
  return new Stripe(settings.STRIPE_API_KEY ?? '', {
    ...addressOf(settings.STRIPE_API_BASE),
    timeout: settings.GATEWAY_TIMEOUT_MS,
    // The client of this service and recovery retry. The SDK still repeats a request once after a reset connection, with the same key.
    maxNetworkRetries: 0,
    telemetry: false,
  });
}

/** The SDK takes the parts of a URL instead of a URL. */
function addressOf(base: string | undefined): { protocol?: 'http' | 'https'; host?: string; port?: string } {
  if (!base) return {};
  const { protocol, hostname, port } = new URL(base);
  const isEncrypted = protocol === 'https:';
  return { protocol: isEncrypted ? 'https' : 'http', host: hostname, port: port || (isEncrypted ? '443' : '80') };
}
