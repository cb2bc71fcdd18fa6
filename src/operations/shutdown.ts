import type { App } from '../app.setup.js';
import type { OpenDatabase } from '../database/open-database.js';

/** Less than the 30 s that Kubernetes grants by default, and more than the defaults of `IDEMPOTENCY_WAIT_MS` and `GATEWAY_TIMEOUT_MS` together. */
const LIMIT_MS = 25_000;
/** Signals within this time count as one signal, because a terminal sends Ctrl-C to npm and to the service, and npm forwards it as well. */
const ECHO_MS = 1_000;

/**
 * Ends the process on SIGTERM and SIGINT: refuses new requests, answers the started requests and exits with 0.
 *
 * A charge that is not answered within {@link LIMIT_MS} keeps its lease, and recovery finishes the charge after the lease has expired. A second
 * signal ends the process at once, with exit code 1.
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
