/** The part of the package.json of this repository that the package shares. */
export interface Root {
  readonly version: string;
  readonly license: string;
  readonly engines: { readonly node: string };
  readonly dependencies: Readonly<Record<string, string>>;
}

export const PACKAGE_NAME = 'nestjs-idempotency-postgres';

/**
 * Packages that the application has as well, and must have only once. The first version of each range is the oldest one with which
 * `npm run test:package` runs, and the last major version is the one of this repository.
 */
export const PEERS: Readonly<Record<string, string>> = {
  // 9.3.3 is the first version with MetadataScanner.getAllMethodNames().
  '@nestjs/common': '^9.3.3 || ^10.0.0 || ^11.0.0 || ^12.0.0',
  '@nestjs/core': '^9.3.3 || ^10.0.0 || ^11.0.0 || ^12.0.0',
  '@nestjs/schedule': '^2.2.0 || ^3.0.0 || ^4.0.0 || ^5.0.0 || ^6.0.0 || ^12.0.0',
  // 8.23.0 is the first version with `pipeline`. An older version returns a connection to the pool within a transaction after `query_timeout`.
  pg: '^8.23.0',
  rxjs: '^7.2.0',
  typeorm: '^0.3.0 || ^1.0.0',
};

/** Packages that only the module uses, so the application may have other versions of them. */
const OWN = ['cron', 'lru-cache', 'uuid'];

const entry = (path: string) => ({ types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` });

/** The package.json of the package. Its dependencies accept the compatible successors of the versions that this repository tests. */
export const manifestOf = ({ version, license, engines, dependencies }: Root) => ({
  name: PACKAGE_NAME,
  version,
  description: 'Makes the handlers of a Nest application safe to retry: idempotency keys on TypeORM and PostgreSQL.',
  keywords: ['nestjs', 'idempotency', 'idempotency-key', 'postgresql', 'typeorm'],
  license,
  type: 'module',
  exports: {
    '.': entry('src/idempotency/index'),
    './testing': entry('src/idempotency/testing/index'),
    './package.json': './package.json',
  },
  // No file does anything when it is imported, except that it defines what it exports.
  sideEffects: false,
  files: ['dist'],
  engines,
  dependencies: Object.fromEntries(OWN.map((name) => [name, `^${dependencies[name]}`])),
  peerDependencies: PEERS,
});
