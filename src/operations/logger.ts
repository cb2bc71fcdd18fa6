import type { LoggerService } from '@nestjs/common';
import { pino, type Logger } from 'pino';
import type { Config } from '../config.js';

/** JSON lines on stdout. Bodies are never given to it; what could hold a secret is redacted should it ever be. */
export function createLogger({ LOG_LEVEL }: Pick<Config, 'LOG_LEVEL'>): Logger {
  return pino({
    level: LOG_LEVEL,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: ['headers', '*.headers', 'authorization', 'body', '*.body'],
    serializers: { err: toLogged },
  });
}

/** Of an error, what helps to find it. Its other members may quote rows, statements and their parameters. */
function toLogged(error: unknown): Record<string, unknown> {
  const { name, message, stack, code, constraint, cause } = error as Record<string, unknown>;
  return { type: name, message, stack, code, constraint, ...(cause ? { cause: toLogged(cause) } : {}) };
}

/** Lets what Nest and our services log through `new Logger(context)` come out of pino as well. */
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
