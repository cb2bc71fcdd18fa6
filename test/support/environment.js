import { TestEnvironment } from 'jest-environment-node';

/** pg 8 warns about a statement that is sent while another one of the same client waits. pg 9 will refuse it. */
const DEPRECATED_BY_PG = /client\.query\(\)/;

/** Fails a test file in which pg has warned. A test cannot see Node's warnings, because Jest gives it another `process`. */
export default class Environment extends TestEnvironment {
  /** @type {Error[]} */
  warnings = [];
  note = (/** @type {Error} */ warning) => {
    if (warning.name === 'DeprecationWarning' && DEPRECATED_BY_PG.test(warning.message)) this.warnings.push(warning);
  };

  async setup() {
    await super.setup();
    process.on('warning', this.note);
  }

  async teardown() {
    process.off('warning', this.note);
    await super.teardown();
    if (this.warnings[0]) throw this.warnings[0];
  }
}
