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
  // Two files at a time: most wait for a database, which all of them share and which has 100 connections.
  maxWorkers: 2,
  // Ends a test that hangs, and measures nothing: longer than any test takes on a machine that is busy with other things.
  testTimeout: 150_000,
};
