import type { Stripe } from 'stripe';
import { type Config, ConfigError } from '../../../config.js';

export type StripeSettings = Pick<Config, 'STRIPE_API_KEY' | 'STRIPE_API_BASE' | 'GATEWAY_TIMEOUT_MS'>;

/**
 * Loads the SDK, only here and only if a setting needs it, because it is an optional dependency of 23 MB.
 *
 * @param setting the name of the setting, for the error
 * @throws {ConfigError} if the SDK is not installed
 */
export async function loadStripe(setting: string): Promise<typeof Stripe> {
  const sdk = await import('stripe').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new ConfigError(
      `${setting}: expected the npm package stripe, which is an optional dependency; npm ci --include=optional installs it`,
    );
  });
  return sdk.Stripe;
}

/**
 * Creates the client of Stripe.
 *
 * @throws {ConfigError} if the SDK is not installed
 */
export async function createStripe(settings: StripeSettings): Promise<Stripe> {
  const Sdk = await loadStripe('STRIPE_API_KEY');
  return new Sdk(settings.STRIPE_API_KEY ?? '', {
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
