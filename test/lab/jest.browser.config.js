import base from '../../jest.config.js';

/** The tests of the page of the laboratory, which need Debian's Chromium. They start laboratories of their own. */
/** @type {import('jest').Config} */
export default {
  ...base,
  rootDir: '../..',
  roots: ['<rootDir>/test/lab'],
  testMatch: ['**/*.browser-spec.ts'],
  globalSetup: undefined,
  globalTeardown: undefined,
};
