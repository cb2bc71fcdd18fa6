import { readdirSync } from 'node:fs';

/** A step of the ladder, or the service. */
export interface Implementation {
  /** The name in links and options, such as `step-1-no-key`. */
  name: string;
  /** A short name for a column of the matrix, such as `1`. */
  label: string;
  title: string;
  /** The path of the source file from the root of the project. */
  source: string;
  /** The schema of its tables. */
  schema: string;
  /** The statements that create its tables. The tables of the service are created by its migrations. */
  tables?: string;
  /** The compiled module that runs it, relative to this folder. */
  program: string;
  /** Settings of the process. */
  settings: Record<string, string>;
  /** Settings with which its keys expire after this time; missing if its keys are kept for ever. */
  shortRetention?: { seconds: number; settings: Record<string, string> };
}

const LADDER = new URL('../ladder/', import.meta.url);

/** The service looks for abandoned requests often, because a reader does not want to wait. All other settings are the defaults. */
const OF_SERVICE = { LOG_LEVEL: 'warn', RECOVERY_INTERVAL_MS: '200', GATEWAY_TIMEOUT_MS: '30000' };

const SHORT_RETENTION = { seconds: 1.08, settings: { IDEMPOTENCY_RETENTION_HOURS: '0.0003' } };

async function stepOf(file: string): Promise<Implementation> {
  const name = file.replace(/\.js$/, '');
  const { title, schema } = (await import(new URL(file, LADDER).href)) as { title: string; schema: string };
  const label = name.split('-')[1] ?? name;
  return {
    name,
    label,
    title,
    source: `lab/ladder/${name}.ts`,
    schema: `lab_step_${label}`,
    tables: schema,
    program: './step-process.js',
    settings: { LADDER_STEP: name },
  };
}

/** All steps of the ladder, one for each file `ladder/step-*.ts`, and the service: first with its plain committer, then as it is. */
export async function findImplementations(): Promise<Implementation[]> {
  const files = readdirSync(LADDER).filter((name) => /^step-.*\.js$/.test(name));
  const steps = await Promise.all(files.sort().map(stepOf));
  const service = { schema: 'public', program: './service-process.js', shortRetention: SHORT_RETENTION };
  return [
    ...steps,
    {
      ...service,
      name: `step-${steps.length + 1}-one-by-one`,
      label: String(steps.length + 1),
      title: 'The service, one transaction for each request',
      source: 'src/idempotency/commit/one-by-one.ts',
      settings: { ...OF_SERVICE, IDEMPOTENCY_GROUP_SIZE: '1' },
    },
    {
      ...service,
      name: 'service',
      label: 'service',
      title: 'The service as it is',
      source: 'src/charges/charges.service.ts',
      settings: OF_SERVICE,
    },
  ];
}
