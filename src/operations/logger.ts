import type { LoggerService } from '@nestjs/common';
import { pino, type Logger } from 'pino';
import type { Config } from '../config.js';

/**
 * Creates the log: JSON lines on stdout.
 *
 * The service does not log bodies or headers. They are redacted all the same, in case a later change logs them.
 */
export function createLogger({ LOG_LEVEL }: Pick<Config, 'LOG_LEVEL'>): Logger {
  return pino({
    level: LOG_LEVEL,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: ['headers', '*.headers', 'authorization', 'body', '*.body'],
    serializers: { err: toLogged },
  });
}

/** The members of an error that help to find its cause. Other members are not logged, because they may quote rows, statements and parameters. */
function toLogged(error: unknown): Record<string, unknown> {
  const { name, message, stack, code, constraint, cause } = error as Record<string, unknown>;
  return { type: name, message, stack, code, constraint, ...(cause ? { cause: toLogged(cause) } : {}) };
}

/** Writes the lines of Nest's `new Logger(context)` to pino. */
export class PinoLoggerService implements LoggerService {
  constructor(private readonly pino: Logger) {}

  log = (message: unknown, ...rest: unknown[]) => this.write('info', message, rest);
  error = (message: unknown, ...rest: unknown[]) => this.write('error', message, rest);
  warn = (message: unknown, ...rest: unknown[]) => this.write('warn', message, rest);
  debug = (message: unknown, ...rest: unknown[]) => this.write('debug', message, rest);
  verbose = (message: unknown, ...rest: unknown[]) => this.write('trace', message, rest);

  private write(level: 'info' | 'error' | 'warn' | 'debug' | 'trace', message: unknown, rest: unknown[]): void {
    const context = typeof rest.at(-1) === 'string' ? rest.at(-1) : undefined;
    if (message instanceof Error) this.pino[level]({ context, err: message }, message.message);
    else this.pino[level]({ context }, String(message));
  }
}
