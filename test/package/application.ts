import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Program } from '../../harness/processes.js';
import type { Nest } from './nests.js';
import { commandOf, fileOf, FILES, JEST_OPTIONS } from './readme.js';

const run = promisify(execFile);

export type Platform = 'express' | 'fastify';
export const PLATFORMS: readonly Platform[] = ['express', 'fastify'];

/** The packages that a new application of Nest has, for both platforms. */
const SCAFFOLD = ['@nestjs/common', '@nestjs/core', '@nestjs/platform-express', '@nestjs/platform-fastify', 'rxjs'];
const COMPILER = ['reflect-metadata', 'typescript', '@types/node'];
/** The packages with which an application of CommonJS modules runs Jest. */
const JEST = ['jest', '@jest/globals', 'ts-jest', '@swc/core', '@swc/jest'];

/** The compiler options of a new application of Nest. */
const TSCONFIG = {
  compilerOptions: {
    target: 'es2023',
    module: 'nodenext',
    strict: true,
    skipLibCheck: true,
    experimentalDecorators: true,
    emitDecoratorMetadata: true,
    isolatedModules: true,
    types: ['node'],
    rootDir: 'src',
    outDir: 'dist',
  },
  include: ['src'],
};

/** The adapter of a platform, as an argument of `NestFactory.create`, and its import. */
const ADAPTERS = {
  express: { argument: '', import: '' },
  fastify: {
    argument: ', new FastifyAdapter()',
    import: `import { FastifyAdapter } from '@nestjs/platform-fastify';\n`,
  },
};

const mainOf = (platform: Platform) => `
import { NestFactory } from '@nestjs/core';
${ADAPTERS[platform].import}import { AppModule } from './app.module.js';

async function bootstrap() {
  const app = await NestFactory.create(AppModule${ADAPTERS[platform].argument});
  await app.listen(process.env['PORT'] ?? 3000, '127.0.0.1');
  process.stdout.write(\`served at \${await app.getUrl()},\\n\`);
}
void bootstrap();
`;

const TEST = 'src/orders.test.ts';
/** The test of the README, with the adapter of the platform. */
const testOf = (platform: Platform) =>
  ADAPTERS[platform].import +
  fileOf(TEST).replace('create(AppModule', `create(AppModule${ADAPTERS[platform].argument}`);

/** An application that follows the README of the module in an empty folder. */
export class Application {
  private constructor(private readonly folder: string) {}

  /** @throws Error with the output of npm or of the compiler */
  static async create(folder: string, nest: Nest, tarball: string): Promise<Application> {
    await mkdir(join(folder, 'src'), { recursive: true });
    const jest = { rootDir: 'src', testRegex: '\\.spec\\.ts$', testEnvironment: 'node', ...JEST_OPTIONS };
    await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, type: nest.type, jest }));
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
    await copyFile(tarball, join(folder, basename(tarball)));
    const application = new Application(folder);
    const hasJest = nest.type === 'commonjs';
    await application.install(nest, [...SCAFFOLD, ...COMPILER, ...(hasJest ? JEST : [])]);
    const [, , ...packages] = commandOf('npm').split(' ');
    await application.install(nest, packages);
    if (hasJest) await application.write('src/orders.spec.ts', fileOf(TEST).replace('node:test', '@jest/globals'));
    for (const [path, code] of FILES) await application.write(path, code);
    for (const platform of PLATFORMS) {
      await application.write(`src/${platform}.main.ts`, mainOf(platform));
      await application.write(`src/${platform}.test.ts`, testOf(platform));
    }
    await application.run(process.execPath, ['node_modules/typescript/bin/tsc']);
    return application;
  }

  /** Runs the test of the README. */
  async test(platform: Platform, databaseUrl: string): Promise<string> {
    const args = ['--test', '--test-reporter=tap', `dist/${platform}.test.js`];
    const stdout = await this.run(process.execPath, args, { DATABASE_URL: databaseUrl });
    assert.match(stdout, /^# pass 1$/m);
    return 'its test passes';
  }

  /** Runs the test of the README in Jest. */
  async testInJest(databaseUrl: string): Promise<string> {
    await this.run(process.execPath, ['node_modules/jest/bin/jest.js', '--ci'], { DATABASE_URL: databaseUrl });
    return 'its test passes';
  }

  start(platform: Platform, databaseUrl: string): Program {
    const path = resolve(this.folder, `dist/${platform}.main.js`);
    return Program.start(path, { name: platform, cwd: this.folder, env: { DATABASE_URL: databaseUrl, PORT: '0' } });
  }

  /** Installs packages with the versions that the application has to have. A path is installed as it is. */
  private install({ versions }: Nest, packages: readonly string[]): Promise<string> {
    const named = packages.map((name) => (name.startsWith('.') ? name : `${name}@${versions[name]}`));
    // Cached data is not checked for a newer state, because every version is exact.
    const options = ['--no-audit', '--no-fund', '--save-exact', '--prefer-offline'];
    return this.run('npm', ['install', ...options, ...named]);
  }

  private async write(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.folder, path)), { recursive: true });
    await writeFile(join(this.folder, path), text);
  }

  /** @throws Error with the output if the program fails */
  private run(program: string, args: readonly string[], env: Record<string, string> = {}): Promise<string> {
    return run(program, args, { cwd: this.folder, env: { ...process.env, ...env } }).then(
      ({ stdout }) => stdout,
      (error: unknown) => {
        const { stdout, stderr } = error as { stdout: string; stderr: string };
        throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error });
      },
    );
  }
}
