import type { EntityManager } from 'typeorm';
import { ConfigError } from '../config.js';

/** The settings that the code relies on, and the form of their values. The idempotency module checks the limits on time. */
const RELIED_UPON = { DateStyle: 'ISO', default_transaction_isolation: 'read committed' };

/**
 * Checks the settings of a session that the code relies on. They can be wrong if the service does not send them, or if a pooler ignores them.
 *
 * @throws {ConfigError} with the name of each setting and the expected value
 */
export async function checkSession(manager: EntityManager): Promise<void> {
  const rows = await manager.query<{ name: keyof typeof RELIED_UPON; value: string }[]>(
    'SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS names (name)',
    [Object.keys(RELIED_UPON)],
  );
  const wrong = rows.filter(({ name, value }) => !value.startsWith(RELIED_UPON[name]));
  if (wrong.length === 0) return;
  const faults = wrong.map(
    ({ name, value }) => `expected ${name} ${RELIED_UPON[name]}, but it is ${value}; use ALTER ROLE … SET`,
  );
  throw new ConfigError(faults.map((fault) => `DATABASE_SESSION_SETTINGS: ${fault}`).join('\n'));
}
