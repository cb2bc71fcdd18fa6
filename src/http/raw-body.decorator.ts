import { RouteConfig } from '@nestjs/platform-fastify';
declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set by {@link TakesRawBody}. */
    takesRawBody?: true;
  }
}

/**
 * Gives a handler the bytes of the body as a `Buffer`, and lets the body arrive without an API key. Use it together with `@Public()`, for a
 * route whose requests are authenticated by a signature of these bytes.
 *
 * The handler has to check the signature first. It must neither store nor log the body, because the body is not checked for card data.
 */
export const TakesRawBody = () => RouteConfig({ takesRawBody: true });
