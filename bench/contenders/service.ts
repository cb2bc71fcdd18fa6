import { type Program, startAlone } from '../../harness/processes.js';

/** The built service in its own process, with the default settings, as in production. */
export interface Service {
  url: string;
  program: Program;
  /** The end of its output, which shows its errors. */
  readonly output: string;
}

/**
 * Starts the built service.
 *
 * @param settings the settings that differ from the defaults
 * @throws Error with the output of the service, if it ends instead of serving or does not serve within three minutes
 */
export async function startService(databaseUrl: string, settings: Record<string, string> = {}): Promise<Service> {
  const env = { DATABASE_URL: databaseUrl, PORT: '0', LOG_LEVEL: 'warn', ...settings };
  const program = startAlone('src/main.js', env);
  return {
    url: await program.served(),
    program,
    get output() {
      return program.output;
    },
  };
}
