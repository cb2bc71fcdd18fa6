import type { Library } from '../library.js';
import { GO } from './go.js';
import { JAVA } from './java.js';
import { JAVASCRIPT } from './javascript.js';
import { PYTHON } from './python.js';
import { RUST } from './rust.js';
import { THIS_PROJECT } from './this-project.js';

/** In the order of the table: this project, then language by language, the most used libraries of a language first. */
export const LIBRARIES: readonly Library[] = [THIS_PROJECT, ...JAVASCRIPT, ...PYTHON, ...GO, ...RUST, ...JAVA];
