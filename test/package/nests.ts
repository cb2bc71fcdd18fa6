import { readFileSync } from 'node:fs';
import { PEERS } from '../../package/manifest.js';

/** The packages of an empty application of Nest, and its module system. */
export interface Nest {
  readonly name: string;
  readonly type: 'module' | 'commonjs';
  /** The version of each package that the application installs. */
  readonly versions: Readonly<Record<string, string>>;
}

type Dependencies = Readonly<Record<string, string>>;
const { dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  dependencies: Dependencies;
  devDependencies: Dependencies;
};

/** The oldest versions that the package accepts. */
const oldest = Object.fromEntries(
  Object.entries(PEERS).map(([name, range]) => [name, (range.split(' ')[0] ?? '').slice(1)]),
);
const oldestNest = oldest['@nestjs/core'] ?? '';

export const NESTS: readonly Nest[] = [
  { name: 'Nest 12 with ES modules', type: 'module', versions: { ...devDependencies, ...dependencies } },
  {
    name: `Nest ${oldestNest} with CommonJS modules`,
    type: 'commonjs',
    versions: {
      ...devDependencies,
      ...oldest,
      '@nestjs/platform-express': oldestNest,
      '@nestjs/platform-fastify': oldestNest,
      // The versions that belong to this Nest.
      '@nestjs/typeorm': '9.0.1',
      'reflect-metadata': '0.1.13',
      // The compiler of Jest in new applications of Nest 9 to 11.
      'ts-jest': '29.4.15',
    },
  },
];
