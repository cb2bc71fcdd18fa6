import { playEveryScenario } from './every-scenario.js';

// Two files, because two files run at a time.
playEveryScenario(['1', '3']);
