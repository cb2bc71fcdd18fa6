import type { App } from '../app.setup.js';
import type { OpenDatabase } from '../database/open-database.js';

/** Within the 30 s that Kubernetes grants by default, and more than a request takes that waits and then calls the bank. */
const LIMIT_MS = 25_000;

/**
 * Ends the process on SIGTERM and SIGINT: new requests are refused, those under way are answered, and it exits with 0.
 * What is not answered within the limit keeps its lease, and is recovered once that has lapsed. A second signal ends at once.
 */
export function endOnSignal({ nest, drain }: App, database: OpenDatabase): void {
  const end = async () => {
    if (drain.started) process.exit(1);
    setTimeout(() => process.exit(0), LIMIT_MS).unref();
    await drain.start();
    await nest.close();
    await database.close();
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void end());
}
