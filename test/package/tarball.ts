import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { publint } from 'publint';
import type { Case } from '../../harness/suite.js';

const run = promisify(execFile);

/** The files that the package may contain. */
const ALLOWED =
  /^package\/(package\.json|README\.md|LICENSE|dist\/src\/(idempotency|postgres|timing)\/.+|dist\/migrations\/(idempotency|\d+-idempotency[a-z-]*)\.(js|d\.ts))$/;

/** The checks of the package itself. `staged` is the folder that was packed. */
export const tarballCases = (tarball: string, staged: string): Case[] => [
  {
    name: 'contains the module, its migrations, its README and its licence, and no file of the service',
    run: async () => {
      const files = (await run('tar', ['-tzf', tarball])).stdout.trim().split('\n');
      assert.deepEqual(
        files.filter((file) => !ALLOWED.test(file)),
        [],
      );
      for (const file of ['README.md', 'LICENSE', 'dist/src/idempotency/index.d.ts', 'dist/migrations/idempotency.js'])
        assert.ok(files.includes(`package/${file}`), `expected ${file} in the package`);
      return `${files.length} files`;
    },
  },
  {
    name: 'gives publint nothing to say about the package',
    run: async () => {
      const { messages } = await publint({ pkgDir: staged, strict: true });
      assert.deepEqual(messages, []);
      return 'no message';
    },
  },
  {
    name: 'gives attw nothing to say about the types of the package, which contains ES modules only',
    run: async () => {
      const args = ['node_modules/@arethetypeswrong/cli/dist/index.js', tarball, '--profile', 'esm-only', '--no-color'];
      // attw ends with 1 if there is a problem.
      const { stdout } = await run(process.execPath, args);
      assert.match(stdout, /node16 \(from ESM\): 🟢/u);
      return 'no problem';
    },
  },
];
