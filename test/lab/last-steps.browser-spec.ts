import { playEveryScenario } from './every-scenario.js';

playEveryScenario(['5', 'service']);
