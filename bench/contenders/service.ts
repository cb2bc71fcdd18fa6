import { type Program, startAlone } from '../../harness/processes.js';

/** The service as it is run in production: built, a process of its own, and its settings the defaults. */
export interface Service {
  url: string;
  program: Program;
  /** The end of what it wrote, which says what went wrong in it. */
  readonly output: string;
}

/**
 * Starts the built service.
 *
 * @param settings what differs from the defaults
 * @throws Error with what it wrote, when it ends instead of serving
 */
export async function startService(databaseUrl: string, settings: Record<string, string> = {}): Promise<Service> {
  const env = { DATABASE_URL: databaseUrl, PORT: '0', LOG_LEVEL: 'warn', ...settings };
  const program = startAlone('src/main.js', env);
  const url = await program.expect<string>((resolve) => {
    const look = () => {
      const served = /served at (\S+),/.exec(program.output)?.[1];
      if (served) resolve(served);
    };
    program.child.stderr?.on('data', look);
    return () => program.child.stderr?.off('data', look);
  });
  return {
    url,
    program,
    get output() {
      return program.output;
    },
  };
}
