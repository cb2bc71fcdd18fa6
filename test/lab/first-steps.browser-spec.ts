import { playEveryScenario } from './every-scenario.js';

// The steps are in two files, because jest runs two files at a time.
playEveryScenario(['1', '3']);
