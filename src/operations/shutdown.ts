import type { App } from '../app.setup.js';
import type { OpenDatabase } from '../database/open-database.js';

/** Within the 30 s that Kubernetes grants by default, and more than a request takes that waits and then calls the bank. */
const LIMIT_MS = 25_000;
/** A terminal sends Ctrl-C to npm and to the service, and npm passes its own on. Two signals within this time are one wish. */
const ECHO_MS = 1_000;

/**
 * Ends the process on SIGTERM and SIGINT: new requests are refused, those under way are answered, and it exits with 0.
 * What is not answered within the limit keeps its lease, and is recovered once that has lapsed. A second signal ends at once,
 * unless it is an echo of the first.
 */
export function endOnSignal({ nest, drain }: App, database: OpenDatabase): void {
  let startedAtMs: number | undefined;
  const end = async () => {
    if (startedAtMs !== undefined) {
      if (performance.now() - startedAtMs > ECHO_MS) process.exit(1);
      return;
    }
    startedAtMs = performance.now();
    setTimeout(() => process.exit(0), LIMIT_MS).unref();
    await drain.start();
    await nest.close();
    await database.close();
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end());
}
