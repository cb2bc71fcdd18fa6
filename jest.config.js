/** @type {import('jest').Config} */
export default {
  testEnvironment: '<rootDir>/test/support/environment.js',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.e2e-spec.ts', '**/*.spec.ts'],
  globalSetup: '<rootDir>/test/support/global-setup.js',
  globalTeardown: '<rootDir>/test/support/global-teardown.js',
  extensionsToTreatAsEsm: ['.ts'],
  coverageProvider: 'v8',
  // Sources import one another as `./x.js`, which is what Node resolves after the build.
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: { '^.+\\.ts$': ['@swc/jest', { sourceMaps: 'inline' }] },
  // Two files run at a time. Most tests wait for the database server, which all files share and which accepts 100 connections.
  maxWorkers: 2,
  // Only ends a test that hangs, so it is longer than any test takes on a busy machine.
  testTimeout: 150_000,
  // By default, Jest kills a worker after half a second and reports a leak, although a worker of a busy machine only needs longer to exit.
  workerGracefulExitTimeout: 10_000,
};
